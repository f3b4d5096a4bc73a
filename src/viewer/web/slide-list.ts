/** The list of slides on the left. */
import { type SlideEntry, slideUrl } from '../api.ts';
import { byId, element } from './element.ts';
import { FilterControls } from './filter-controls.ts';
import { probabilityBars } from './probabilities.ts';
import type { FilterSettings } from './slide-filter.ts';

const STATUS: Readonly<Record<SlideEntry['status'], string>> = {
  done: 'Done',
  'no-tissue': 'No tissue found',
  failed: 'Failed',
  unfinished: 'Not finished',
};

export class SlideList {
  private readonly list = byId('slide-list');
  private readonly filter: FilterControls;
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private readonly entries: readonly SlideEntry[];

  /** `onFilter` is called when other slides are shown. */
  constructor(entries: readonly SlideEntry[], onChoose: (id: string) => void, onFilter: () => void) {
    this.entries = entries;
    for (const entry of entries) {
      const button = slideButton(entry);
      button.addEventListener('click', () => onChoose(entry.id));
      this.buttons.set(entry.id, button);
      this.list.append(element('li', '', button));
    }
    this.filter = new FilterControls(STATUS, () => {
      this.applyFilter();
      onFilter();
    });
    this.filter.offer(entries);
    this.applyFilter();
  }

  mark(id: string): void {
    for (const [other, button] of this.buttons) {
      if (other === id) button.setAttribute('aria-current', 'true');
      else button.removeAttribute('aria-current');
    }
    this.buttons.get(id)?.scrollIntoView({ block: 'nearest' });
  }

  /** The id `step` places after `id` among the slides that the filter shows. */
  neighbour(id: string | null, step: number): string | null {
    const shown = this.entries.filter((entry) => !this.buttons.get(entry.id)!.parentElement!.hidden);
    const place = shown.findIndex((entry) => entry.id === id);
    return shown[Math.min(shown.length - 1, Math.max(0, place + step))]?.id ?? null;
  }

  /** What is filtered for, as part of an address. */
  get settings(): FilterSettings {
    return this.filter.settings;
  }

  set settings(given: Partial<Record<string, string>>) {
    this.filter.settings = given;
  }

  private applyFilter(): void {
    let shown = 0;
    for (const entry of this.entries) {
      const fits = this.filter.test(entry);
      this.buttons.get(entry.id)!.parentElement!.hidden = !fits;
      if (fits) shown++;
    }
    const all = this.entries.length;
    byId('slide-count').textContent = shown === all ? plural(all) : `${shown} of ${plural(all)}`;
  }
}

function plural(slides: number): string {
  return slides === 1 ? '1 slide' : `${slides} slides`;
}

function thumbnail({ id, hasThumbnail }: SlideEntry): HTMLElement {
  const frame = element('span', 'thumbnail');
  if (!hasThumbnail) return frame;
  const picture = element('img', '');
  picture.src = slideUrl(id, 'thumbnail.jpg');
  picture.alt = '';
  picture.loading = 'lazy';
  frame.append(picture);
  return frame;
}

function slideButton(entry: SlideEntry): HTMLButtonElement {
  const words = element('span', 'words', element('span', 'name', entry.id));
  if (entry.status !== 'done') words.append(element('span', `status ${entry.status}`, STATUS[entry.status]));
  if (entry.prediction !== null) words.append(element('span', 'predicted', entry.prediction));
  words.append(probabilityBars(entry, 'small'));
  const button = element('button', 'slide', thumbnail(entry), words);
  button.type = 'button';
  button.title = entry.id;
  return button;
}
