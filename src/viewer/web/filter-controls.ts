/** The search and the filters over the list of slides. */
import type { SlideEntry } from '../api.ts';
import { isBundle } from './bundle.ts';
import { byId } from './element.ts';
import { getDecided } from './server.ts';
import { FILTERS, type FilterSettings, fits } from './slide-filter.ts';

type StatusNames = Readonly<Record<SlideEntry['status'], string>>;

export class FilterControls {
  private readonly statusNames: StatusNames;
  private readonly onChange: () => void;
  private wanted = read();
  private decided: ReadonlySet<string> = new Set();

  constructor(statusNames: StatusNames, onChange: () => void) {
    this.statusNames = statusNames;
    this.onChange = onChange;
    for (const name of FILTERS) control(name).addEventListener('input', () => void this.apply());
    byId('filter-clear').addEventListener('click', () => {
      this.settings = {};
      byId('filter').focus();
    });
  }

  /** Offers what the slides of the run have; a choice that none of them has any more goes. */
  offer(entries: readonly SlideEntry[]): void {
    const states = distinct(entries.map(({ status }) => status));
    const classes = distinct(entries.flatMap(({ probabilities }) => probabilities.map(({ name }) => name)));
    const labels = distinct(entries.map(({ label }) => label));
    fill('status', 'any', states, (status) => this.statusNames[status as SlideEntry['status']]);
    fill('predicted', 'any', distinct(entries.map(({ prediction }) => prediction)));
    fill('class', 'the predicted class', classes);
    fill('label', 'any', labels);
    byId('filter-status').parentElement!.hidden = states.length < 2;
    byId('filter-predicted').parentElement!.hidden = classes.length === 0;
    byId('filter-probability').hidden = classes.length === 0;
    for (const id of ['filter-label', 'filter-right']) byId(id).parentElement!.hidden = labels.length === 0;
    this.wanted = read();
  }

  test(entry: SlideEntry): boolean {
    const { id, patient, prediction, label, status } = entry;
    const words = [id, patient, prediction, label, this.statusNames[status]].join('\n');
    return fits(entry, words, this.wanted, this.decided);
  }

  get settings(): FilterSettings {
    return this.wanted;
  }

  /** Takes what an address says; what it does not say is not asked for. */
  set settings(given: Partial<Record<string, string>>) {
    for (const name of FILTERS) control(name).value = (name === 'reviewed' && isBundle ? '' : given[name]) ?? '';
    void this.apply().then(() => {
      byId<HTMLDetailsElement>('filters').open ||= active(this.wanted) > 0;
    });
  }

  private async apply(): Promise<void> {
    this.wanted = read();
    const inUse = active(this.wanted);
    byId('filter-state').textContent = inUse === 0 ? '' : `${inUse} in use`;
    byId('filter-clear').hidden = inUse === 0 && this.wanted.find === '';
    if (this.wanted.reviewed !== '') await this.lookUpVerdicts();
    this.onChange();
  }

  private async lookUpVerdicts(): Promise<void> {
    try {
      this.decided = new Set(await getDecided());
    } catch (error) {
      byId('filter-state').textContent = (error as Error).message;
    }
  }
}

function control(name: keyof FilterSettings): HTMLInputElement | HTMLSelectElement {
  return byId<HTMLInputElement>(name === 'find' ? 'filter' : `filter-${name}`);
}

function read(): FilterSettings {
  return Object.fromEntries(FILTERS.map((name) => [name, control(name).value])) as FilterSettings;
}

/** How many filters are in use, apart from the search. The class alone asks for nothing. */
function active(settings: FilterSettings): number {
  return FILTERS.filter((name) => name !== 'find' && name !== 'class' && settings[name] !== '').length;
}

function distinct(values: readonly (string | null)[]): string[] {
  return [...new Set(values)].filter((value) => value !== null).sort();
}

function fill(name: keyof FilterSettings, none: string, values: readonly string[], nameOf = (value: string) => value) {
  const select = control(name) as HTMLSelectElement;
  const before = select.value;
  select.replaceChildren(new Option(none, ''), ...values.map((value) => new Option(nameOf(value), value)));
  select.value = values.includes(before) ? before : '';
}
