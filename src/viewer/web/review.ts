/**
 * Reading a review: one slide after another, by keyboard if one likes.
 *
 * What is entered stays in the browser until the server has it on its disk; a server that was killed loses nothing.
 */
import type {
  Opinion,
  QueueView,
  ReviewView,
  SessionView,
  SlideEntry,
  SlideView,
  Verdict,
  VerdictEntry,
} from '../api.ts';
import { byId, element } from './element.ts';
import { figure } from './figures.ts';
import { newId } from './new-id.ts';
import {
  createReview,
  getQueue,
  getReviewSlide,
  getReviews,
  getSummary,
  type ServerProblem,
  sendVerdict,
} from './server.ts';

export interface ReviewHost {
  /** Shows a slide as it may be seen. */
  present(view: SlideView, signal: AbortSignal): Promise<void>;
  complain(error: unknown): void;
  slides(): readonly SlideEntry[];
  session(): SessionView;
  /** A review begins or ends. */
  changed(active: boolean): void;
}

interface Draft {
  opinion: Opinion | null;
  label: string;
  region: 'right' | 'wrong' | null;
  note: string;
  seconds: number;
}

/** A verdict that the server has not acknowledged. */
interface Unsent {
  readonly review: string;
  readonly entry: VerdictEntry;
}

const EMPTY: Draft = { opinion: null, label: '', region: null, note: '', seconds: 0 };
const UNSENT = 'lamina-unsent';
const RETRY_MS = 2000;

export class ReviewDesk {
  private readonly host: ReviewHost;
  private readonly dialog = byId<HTMLDialogElement>('review-dialog');
  private readonly note = byId<HTMLTextAreaElement>('verdict-note');
  private readonly label = byId<HTMLSelectElement>('verdict-label');
  private queue: QueueView | null = null;
  private place = 0;
  /** Where to go when the server answers again. */
  private wanted: number | null = null;
  private draft: Draft = { ...EMPTY };
  private classes: readonly string[] = [];
  private seenSince: number | null = null;
  private loading = new AbortController();

  constructor(host: ReviewHost) {
    this.host = host;
    for (const button of document.querySelectorAll<HTMLButtonElement>('[data-opinion]')) {
      button.addEventListener('click', () => this.setOpinion(button.dataset.opinion as Opinion));
    }
    for (const button of document.querySelectorAll<HTMLButtonElement>('[data-region]')) {
      button.addEventListener('click', () => this.setRegion(button.dataset.region as 'right' | 'wrong'));
    }
    this.label.addEventListener('change', () => this.keep({ label: this.label.value }));
    this.note.addEventListener('input', () => this.keep({ note: this.note.value }));
    byId('verdict-send').addEventListener('click', () => this.send());
    byId('review-before').addEventListener('click', () => void this.go(this.place - 1));
    byId('review-after').addEventListener('click', () => void this.go(this.place + 1));
    byId('review-leave').addEventListener('click', () => this.leave());
    byId('review-create').addEventListener('submit', (event) => {
      event.preventDefault();
      void this.create().catch(host.complain);
    });
    document.addEventListener('visibilitychange', () => this.clock(!document.hidden));
    void this.sendUnsent();
  }

  get active(): boolean {
    return this.queue !== null;
  }

  get reader(): string {
    return this.queue?.reader ?? this.host.session().user?.name ?? '';
  }

  /** The list of reviews, to begin or go on with one. */
  async open(): Promise<void> {
    const { user } = this.host.session();
    const reviews = await getReviews();
    const rows = reviews.flatMap((review) =>
      review.readers
        .filter(({ name }) => user?.role === 'admin' || name === user?.name)
        .map((reader) => {
          const state = reader.done === 0 ? 'Begin' : reader.done < reader.slides ? 'Go on' : 'Look again';
          const button = element('button', '', `${state} as ${reader.name}`);
          button.type = 'button';
          button.addEventListener('click', () => {
            this.dialog.close();
            void this.begin(review.id, reader.name).catch(this.host.complain);
          });
          const words = `${review.name}: ${reader.done} of ${reader.slides} slides`;
          return element('li', 'row', element('span', '', words), button);
        }),
    );
    const none = element('li', 'quiet', 'There is no review yet.');
    byId('review-list').replaceChildren(...(rows.length > 0 ? rows : [none]));
    byId('review-admin').hidden = user?.role !== 'admin';
    byId('dashboard').replaceChildren();
    if (user?.role === 'admin') await this.dashboard(reviews);
    this.dialog.showModal();
  }

  async begin(review: string, reader: string): Promise<void> {
    await this.sendUnsent();
    this.queue = await getQueue(review, reader);
    byId('review-panel').hidden = false;
    byId('review-title').textContent = this.queue.review.name;
    document.body.classList.add('reviewing');
    this.host.changed(true);
    await this.go(this.queue.next ?? 0);
  }

  leave(): void {
    this.clock(false);
    this.queue = null;
    byId('review-panel').hidden = true;
    document.body.classList.remove('reviewing');
    this.host.changed(false);
  }

  setOpinion(opinion: Opinion): void {
    if (this.queue && !this.queue.review.blindModel)
      this.keep({ opinion: this.draft.opinion === opinion ? null : opinion });
    else if (this.queue && opinion === 'unsure') this.keep({ opinion: this.draft.opinion === null ? 'unsure' : null });
  }

  setRegion(region: 'right' | 'wrong'): void {
    if (this.queue && !this.queue.review.blindModel)
      this.keep({ region: this.draft.region === region ? null : region });
  }

  focusNote(): void {
    if (this.queue) this.note.focus();
  }

  focusLabel(): void {
    if (this.queue) this.label.focus();
  }

  /** Sends the verdict and goes to the next slide. It is acknowledged when the server has it on its disk. */
  send(): void {
    const item = this.queue?.items[this.place];
    if (!this.queue || !item) return;
    const { opinion, label, region, note } = this.draft;
    if (opinion === null && !label) {
      this.say('Choose first what you think.', true);
      return;
    }
    this.clock(false);
    const entry: VerdictEntry = {
      id: newId(),
      reader: this.queue.reader,
      slide: item.slide,
      opinion: opinion ?? (this.queue.review.blindModel ? null : 'disagree'),
      label: label || null,
      region,
      note,
      seconds: this.draft.seconds,
    };
    store([...unsent(), { review: this.queue.review.id, entry }]);
    localStorage.removeItem(this.draftKey);
    this.say('Saving …', false);
    void this.sendUnsent();
    const next = this.queue.items.findIndex(
      (one, i) => i > this.place && one.verdict === null && !isWaiting(one.slide),
    );
    if (this.place + 1 < this.queue.items.length) void this.go(next < 0 ? this.place + 1 : next);
    else this.showProgress();
  }

  /** What is entered always belongs to the slide that is seen: the place changes when the slide has come. */
  private async go(place: number): Promise<void> {
    const item = this.queue?.items[place];
    if (!this.queue || !item) return;
    this.loading.abort();
    const loading = new AbortController();
    this.loading = loading;
    this.wanted = place;
    try {
      const view = await getReviewSlide(this.queue.review.id, item.slide, loading.signal);
      loading.signal.throwIfAborted();
      this.clock(false);
      this.place = place;
      this.wanted = null;
      this.draft = this.draftOf(item.verdict);
      this.offerClasses(view);
      this.showDraft();
      this.showProgress();
      await this.host.present(view, loading.signal);
      this.clock(true);
    } catch (error) {
      if (!loading.signal.aborted) this.host.complain(error);
    }
  }

  /** What was being entered, else what was said before. */
  private draftOf(verdict: Verdict | null): Draft {
    const stored = localStorage.getItem(this.draftKey);
    if (stored) return JSON.parse(stored) as Draft;
    if (!verdict) return { ...EMPTY };
    const { opinion, label, region, note, seconds } = verdict;
    return { opinion, label: label ?? '', region, note, seconds };
  }

  private offerClasses(view: SlideView): void {
    const found = this.host.slides().flatMap(({ probabilities }) => probabilities.map(({ name }) => name));
    this.classes = [...new Set([...view.probabilities.map(({ name }) => name), ...found])];
    const blind = this.queue!.review.blindModel;
    const none = blind ? 'Choose a class' : 'No other class';
    this.label.replaceChildren(new Option(none, ''), ...this.classes.map((name) => new Option(name, name)));
    byId('verdict-opinions').dataset.blind = String(blind);
    byId('verdict-region').hidden = blind || view.scoreColumns.length === 0;
    byId('verdict-question').textContent = blind
      ? 'What is it?'
      : `The model says ${view.prediction ?? 'nothing'}. Do you agree?`;
    byId('review-slide').textContent = blind || this.queue!.review.blindLabel ? '' : view.id;
  }

  private keep(change: Partial<Draft>): void {
    if (!this.queue) return;
    Object.assign(this.draft, change);
    localStorage.setItem(this.draftKey, JSON.stringify(this.draft));
    this.showDraft();
  }

  private showDraft(): void {
    const { opinion, label, region, note } = this.draft;
    for (const button of document.querySelectorAll<HTMLButtonElement>('[data-opinion]')) {
      button.setAttribute('aria-pressed', String(button.dataset.opinion === opinion));
    }
    for (const button of document.querySelectorAll<HTMLButtonElement>('[data-region]')) {
      button.setAttribute('aria-pressed', String(button.dataset.region === region));
    }
    if (label && !this.classes.includes(label)) this.label.append(new Option(label, label));
    this.label.value = label;
    if (this.note.value !== note) this.note.value = note;
  }

  private showProgress(): void {
    if (!this.queue) return;
    const { items } = this.queue;
    const done = items.filter(({ slide, verdict }) => verdict !== null || isWaiting(slide)).length;
    byId('review-progress').textContent = `Slide ${this.place + 1} of ${items.length}, ${done} decided`;
    byId<HTMLProgressElement>('review-bar').max = items.length;
    byId<HTMLProgressElement>('review-bar').value = done;
    byId('review-before').toggleAttribute('disabled', this.place === 0);
    byId('review-after').toggleAttribute('disabled', this.place === items.length - 1);
  }

  /** Counts the time that the slide is looked at. */
  private clock(runs: boolean): void {
    if (this.seenSince !== null) this.draft.seconds += (performance.now() - this.seenSince) / 1000;
    this.seenSince = runs && this.queue ? performance.now() : null;
  }

  private sending: Promise<void> | null = null;

  private sendUnsent(): Promise<void> {
    this.sending ??= this.deliver().finally(() => {
      this.sending = null;
    });
    return this.sending;
  }

  private async deliver(): Promise<void> {
    for (let [first] = unsent(); first; [first] = unsent()) {
      try {
        const verdict = await sendVerdict(first.review, first.entry);
        forget(first);
        this.acknowledge(first, verdict);
      } catch (error) {
        const { code, message } = error as ServerProblem;
        if (code === 'bad-request' || code === 'not-found' || code === 'not-allowed') {
          forget(first); // it will never be taken
          this.host.complain(error);
          continue;
        }
        this.say(`${unsent().length} not saved yet: ${message} It is kept here and tried again.`, true);
        setTimeout(() => void this.sendUnsent(), RETRY_MS);
        return;
      }
    }
  }

  private acknowledge({ review, entry }: Unsent, verdict: Verdict): void {
    if (this.queue?.review.id === review && this.queue.reader === entry.reader) {
      const items = this.queue.items.map((item) => (item.slide === entry.slide ? { ...item, verdict } : item));
      this.queue = { ...this.queue, items };
      this.showProgress();
      const left = items.filter((item) => item.verdict === null).length;
      this.say(left === 0 ? 'Saved. All slides are decided.' : 'Saved.', false);
      if (this.wanted !== null) void this.go(this.wanted);
    }
  }

  private say(sentence: string, isProblem: boolean): void {
    byId('verdict-state').textContent = sentence;
    byId('verdict-state').classList.toggle('problem', isProblem);
  }

  private get draftKey(): string {
    const { review, reader, items } = this.queue!;
    return `lamina-draft ${review.id} ${reader} ${items[this.place]?.slide}`;
  }

  private async create(): Promise<void> {
    const field = (id: string) => byId<HTMLInputElement>(id);
    const readers = field('review-readers')
      .value.split(',')
      .map((name) => name.trim());
    const slides = this.host.slides().filter(({ status }) => status === 'done');
    await createReview({
      name: field('review-name').value,
      readers: readers.filter(Boolean),
      slides: slides.map(({ id }) => id),
      seed: Number(field('review-seed').value),
      blindModel: field('review-blind-model').checked,
      blindLabel: field('review-blind-label').checked,
    });
    this.dialog.close();
    await this.open();
  }

  private async dashboard(reviews: readonly ReviewView[]): Promise<void> {
    const parts: Node[] = [];
    for (const { id, name } of reviews) {
      const { review, pairs, fleiss, disagreements } = await getSummary(id);
      const kappa = (value: number | null) => (value === null ? 'not defined' : value.toFixed(2));
      const readers = review.readers.map(({ name, done, slides, medianSeconds, opinions }) => {
        const time = medianSeconds === null ? '' : `${figure(medianSeconds)} s`;
        const { agree, disagree, unsure } = opinions;
        return [name, `${done} / ${slides}`, `${agree}`, `${disagree}`, `${unsure}`, time];
      });
      parts.push(
        element('h3', '', name),
        table(['Reader', 'Slides', 'Agree', 'Disagree', 'Unsure', 'Median time'], readers),
        ...pairs.map(({ readers, slides, kappa: value }) =>
          element('p', '', `Cohen’s kappa of ${readers.join(' and ')}: ${kappa(value)} (${slides} slides)`),
        ),
      );
      if (review.readers.length > 2) {
        parts.push(element('p', '', `Fleiss’ kappa: ${kappa(fleiss.kappa)} (${fleiss.slides} slides)`));
      }
      if (disagreements.length > 0) {
        const rows = disagreements.map(({ slide, prediction, said }) => [
          slide,
          prediction ?? '',
          said.map((one) => `${one.reader}: ${one.said}`).join(', '),
        ]);
        parts.push(element('h4', '', 'Where readers differ'), table(['Slide', 'Model', 'Readers'], rows));
      }
      const links = (['csv', 'json', 'geojson'] as const).map((format) => {
        const link = element('a', '', format === 'geojson' ? 'GeoJSON' : format.toUpperCase());
        link.href = `api/reviews/${id}/export.${format}`;
        link.download = `${name}.${format}`;
        return link;
      });
      parts.push(element('p', 'links', 'Export: ', ...links));
    }
    byId('dashboard').replaceChildren(...parts);
  }
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): HTMLElement {
  const line = (cells: readonly string[], tag: 'th' | 'td') =>
    element('tr', '', ...cells.map((cell) => element(tag, '', cell)));
  return element(
    'table',
    '',
    element('thead', '', line(head, 'th')),
    element('tbody', '', ...rows.map((row) => line(row, 'td'))),
  );
}

function unsent(): Unsent[] {
  return JSON.parse(localStorage.getItem(UNSENT) ?? '[]') as Unsent[];
}

function store(waiting: readonly Unsent[]): void {
  localStorage.setItem(UNSENT, JSON.stringify(waiting));
}

/** By its id: another tab may have sent and stored others meanwhile. */
function forget({ entry }: Unsent): void {
  store(unsent().filter((one) => one.entry.id !== entry.id));
}

function isWaiting(slide: string): boolean {
  return unsent().some(({ entry }) => entry.slide === slide);
}
