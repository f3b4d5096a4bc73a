/** The list of slides on the left. */
import { type LiveProgress, type SlideEntry, slideUrl } from '../api.ts';
import { byId, element } from './element.ts';
import { FilterControls } from './filter-controls.ts';
import { probabilityBars } from './probabilities.ts';
import type { FilterSettings } from './slide-filter.ts';

const STATUS: Readonly<Record<SlideEntry['status'], string>> = {
  done: 'Done',
  'no-tissue': 'No tissue found',
  failed: 'Failed',
  unfinished: 'Not finished',
  running: 'Being read',
};

export class SlideList {
  private readonly list = byId('slide-list');
  private readonly filter: FilterControls;
  private readonly buttons = new Map<string, HTMLButtonElement>();
  private readonly onChoose: (id: string) => void;
  private entries: readonly SlideEntry[] = [];

  /** `onFilter` is called when other slides are shown. */
  constructor(onChoose: (id: string) => void, onFilter: () => void) {
    this.onChoose = onChoose;
    this.filter = new FilterControls(STATUS, () => {
      this.applyFilter();
      onFilter();
    });
  }

  /** Takes another list; a slide that is as it was keeps its button, and with it the focus. */
  update(entries: readonly SlideEntry[]): void {
    const before = new Map(this.entries.map((entry) => [entry.id, JSON.stringify(entry)]));
    const marked = [...this.buttons].find(([, button]) => button.ariaCurrent === 'true')?.[0];
    const focused = [...this.buttons].find(([, button]) => button === document.activeElement)?.[0];
    this.entries = entries;
    const items = entries.map((entry) => {
      const kept = before.get(entry.id) === JSON.stringify(entry) ? this.buttons.get(entry.id) : undefined;
      if (kept) return kept.parentElement!;
      const button = slideButton(entry);
      button.addEventListener('click', () => this.onChoose(entry.id));
      this.buttons.set(entry.id, button);
      return element('li', '', button);
    });
    for (const id of this.buttons.keys()) if (!entries.some((entry) => entry.id === id)) this.buttons.delete(id);
    this.list.replaceChildren(...items);
    if (marked) this.mark(marked);
    if (focused) this.buttons.get(focused)?.focus();
    this.filter.offer(entries);
    this.applyFilter();
  }

  /** How far a slide is that is being worked on. */
  progress(id: string, progress: LiveProgress): void {
    const status = this.buttons.get(id)?.querySelector('.status');
    if (status) status.textContent = liveStatus(progress);
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

function liveStatus({ done, patches }: LiveProgress): string {
  return done === 0 ? 'Next in line' : `${STATUS.running}, ${Math.floor((100 * done) / patches)} %`;
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
  const { live } = entry;
  const status = live ? liveStatus(live) : STATUS[entry.status];
  if (entry.status !== 'done') words.append(element('span', `status ${entry.status}`, status));
  // What the model says of a part of a slide is said beside the picture only, where it is also said of how much.
  if (!live && entry.prediction !== null) words.append(element('span', 'predicted', entry.prediction));
  if (!live) words.append(probabilityBars(entry, 'small'));
  const button = element('button', 'slide', thumbnail(entry), words);
  button.type = 'button';
  button.title = entry.id;
  return button;
}
