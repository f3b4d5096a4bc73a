/**
 * Two heatmaps, or two slides, over each other in one window: swiped, in turns, as a difference, or shining through.
 * A is what the rest of the page shows; B is what is chosen here.
 */
import type { Scores, SlideEntry, SlideView } from '../api.ts';
import { byId } from './element.ts';
import { count } from './figures.ts';
import type { Heatmap } from './heatmap.ts';
import { nameOf } from './heatmap-controls.ts';
import { rankDifference } from './score-difference.ts';
import { getScores, getSlide } from './server.ts';
import type { Stage } from './stage.ts';

/** Slow enough to look at each, quick enough to see what moves. */
const BLINK_MS = 1000;

type Mode = 'swipe' | 'blink' | 'difference' | 'through';

export interface ComparisonHost {
  readonly stage: Stage;
  readonly heatmap: Heatmap;
  /** Lies over the first, in its style. */
  readonly second: Heatmap;
  /** The score that is shown, and its name; null when there is none. */
  shownScores(): { readonly scores: Scores; readonly name: string } | null;
  /** Shows scores that no column has, or the column again. */
  showComputed(computed: { scores: Scores; name: string; caption: string } | null): void;
  complain(error: unknown): void;
}

interface Second {
  readonly kind: 'scores' | 'slide';
  readonly name: string;
  readonly scores: Scores | null;
}

export class Comparison {
  private readonly host: ComparisonHost;
  private readonly choice = byId<HTMLSelectElement>('compare-with');
  private readonly share = byId<HTMLInputElement>('compare-share');
  private slide: SlideView | null = null;
  private second: Second | null = null;
  private loading = new AbortController();
  private timer: ReturnType<typeof setInterval> | undefined;
  /** In turns: which of the two is seen. */
  private seesSecond = false;
  /** Whether the difference is shown. */
  private differs = false;

  constructor(host: ComparisonHost) {
    this.host = host;
    this.choice.addEventListener('change', () => void this.load());
    this.share.addEventListener('input', () => this.apply());
    for (const mode of this.modes) {
      mode.addEventListener('change', () => {
        this.seesSecond = false;
        this.apply();
      });
    }
  }

  /** Another slide, or other slides to choose from: nothing is compared. */
  show(slide: SlideView, entries: readonly SlideEntry[]): void {
    this.slide = slide;
    const columns = slide.scoreColumns.length > 1 ? slide.scoreColumns : [];
    const others = entries.filter(({ id, status }) => id !== slide.id && status === 'done');
    this.choice.replaceChildren(
      new Option('nothing', ''),
      ...group('Scores of this slide', columns, (column) => [nameOf(column), `own ${column}`]),
      ...(slide.against
        ? group(`Run ${slide.against.run}`, slide.against.scoreColumns, (column) => [
            `${nameOf(column)}, run ${slide.against!.run}`,
            `run ${column}`,
          ])
        : []),
      ...group('Slides', slide.picture ? others : [], ({ id }) => [id, `slide ${id}`]),
    );
    byId('comparison').hidden = slide.live !== null || this.choice.options.length < 2;
    void this.load();
  }

  /** A is another score. */
  changed(): void {
    this.differs = false;
    this.apply();
  }

  /** For the keyboard: the other one is seen, whatever the way of comparing. */
  swap(): void {
    if (!this.second || this.mode === 'difference') return;
    this.seesSecond = !this.seesSecond;
    if (this.mode === 'swipe') this.share.value = this.seesSecond ? '0' : '100';
    if (this.mode === 'through') this.share.value = this.seesSecond ? '100' : '0';
    this.apply(false);
  }

  private get modes(): NodeListOf<HTMLInputElement> {
    return document.querySelectorAll<HTMLInputElement>('input[name="compare-mode"]');
  }

  private get mode(): Mode {
    return [...this.modes].find(({ checked }) => checked)!.value as Mode;
  }

  private async load(): Promise<void> {
    this.loading.abort();
    this.loading = new AbortController();
    const { signal } = this.loading;
    this.second = null;
    this.seesSecond = false;
    this.share.value = '50';
    void this.host.stage.overlay(null);
    this.apply();
    const [kind, ...rest] = this.choice.value.split(' ');
    const name = rest.join(' ');
    const { slide } = this;
    if (!kind || !slide) return;
    try {
      if (kind === 'slide') {
        const other = await getSlide(name, signal);
        if (!other.picture) throw new Error(`${name} has no picture. ${other.pictureProblem ?? ''}`);
        const [a, b] = [slide.facts?.mpp ?? null, other.facts?.mpp ?? null];
        await this.host.stage.overlay({ id: name, picture: other.picture, scale: a && b ? b / a : 1 });
        if (signal.aborted) return;
        this.second = { kind: 'slide', name, scores: null };
      } else {
        const from = kind === 'run' ? slide.against : null;
        const scores = await getScores(slide.id, name, signal, from !== null);
        if (signal.aborted) return;
        const label = from ? `${nameOf(name)}, run ${from.run}` : nameOf(name);
        this.host.second.show(scores, from?.patchLevel0Px ?? slide.facts!.patchLevel0Px);
        this.second = { kind: 'scores', name: label, scores };
      }
      this.offerModes();
      this.apply();
    } catch (error) {
      if (!signal.aborted) this.host.complain(error);
    }
  }

  /** Slides have no scores to subtract; scores are no light to shine through each other. */
  private offerModes(): void {
    const fits: readonly Mode[] =
      this.second?.kind === 'slide' ? ['through', 'blink'] : ['swipe', 'blink', 'difference'];
    for (const mode of this.modes) mode.parentElement!.hidden = !fits.includes(mode.value as Mode);
    if (!fits.includes(this.mode)) [...this.modes].find(({ value }) => value === fits[0])!.checked = true;
  }

  private apply(mayBlink = true): void {
    const { heatmap, second, stage } = this.host;
    const { mode } = this;
    const active = this.second !== null;
    const scores = this.second?.kind === 'scores';
    const share = Number(this.share.value) / 100;
    clearInterval(this.timer);
    const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    if (active && mode === 'blink' && mayBlink && !calm) this.timer = setInterval(() => this.turn(), BLINK_MS);
    byId('compare-modes').hidden = !active;
    byId('compare-sliding').hidden = !active || (mode !== 'swipe' && mode !== 'through');
    byId('compare-share-name').textContent = mode === 'swipe' ? 'Line at' : 'B shines through';
    byId('compare-share-text').textContent = `${this.share.value} %`;
    const swipes = scores && mode === 'swipe';
    byId('swipe-line').hidden = !swipes;
    byId('swipe-line').style.left = `${100 * share}%`;
    heatmap.clip(0, swipes ? share : 1);
    second.clip(swipes ? share : 0, 1);
    // A heatmap over another slide's tissue would be a lie.
    heatmap.veil(this.second?.kind === 'slide' || (scores && mode === 'blink' && this.seesSecond));
    second.veil(!(swipes || (scores && mode === 'blink' && this.seesSecond)));
    if (this.second?.kind === 'slide') stage.setOverlayOpacity(mode === 'blink' ? Number(this.seesSecond) : share);
    this.showDifference(scores && mode === 'difference');
    this.caption();
  }

  private turn(): void {
    this.seesSecond = !this.seesSecond;
    const { heatmap, second, stage } = this.host;
    if (this.second?.kind === 'slide') stage.setOverlayOpacity(Number(this.seesSecond));
    else {
      heatmap.veil(this.seesSecond);
      second.veil(!this.seesSecond);
    }
    this.caption();
  }

  private showDifference(differs: boolean): void {
    if (!differs) {
      if (this.differs) this.host.showComputed(null);
      this.differs = false;
      return;
    }
    if (this.differs) return;
    const a = this.host.shownScores();
    if (!a || !this.second?.scores) return;
    const { scores, shared } = rankDifference(a.scores, this.second.scores);
    const all = a.scores.values.length;
    if (shared === 0) {
      this.host.complain(
        new Error('The two have no patch in common, so there is no difference to show. Swipe or blink instead.'),
      );
      return;
    }
    this.differs = true;
    const part = shared < all ? ` ${count(shared)} of ${count(all)} patches are in both; the others are clear.` : '';
    this.host.showComputed({
      scores,
      name: 'Difference of ranks',
      caption: `Rank in A (${a.name}) less rank in B (${this.second.name}): red where A ranks a patch higher, blue where B does.${part}`,
    });
  }

  private caption(): void {
    const { second, mode } = this;
    const label = byId('compare-label');
    label.hidden = second === null || mode === 'difference';
    byId('compare-caption').textContent = '';
    if (!second) return;
    const a = second.kind === 'slide' ? (this.slide?.id ?? '') : (this.host.shownScores()?.name ?? 'nothing');
    const both = `A: ${a}   B: ${second.name}`;
    const seen = this.seesSecond ? `B: ${second.name}` : `A: ${a}`;
    const through = `${both}, B at ${this.share.value} %`;
    label.textContent = mode === 'blink' ? seen : mode === 'through' ? through : `← A: ${a}   B: ${second.name} →`;
    byId('compare-caption').textContent =
      second.kind === 'slide'
        ? 'The slides lie at the same corner and scale, not registered: the tissue need not match. The heatmap, which belongs to A, is hidden meanwhile.'
        : mode === 'difference'
          ? ''
          : 'Each in the colours of its own scale; Z shows the other one.';
  }
}

function group<T>(label: string, items: readonly T[], option: (item: T) => [string, string]): HTMLElement[] {
  if (items.length === 0) return [];
  const made = document.createElement('optgroup');
  made.label = label;
  made.append(...items.map((item) => new Option(...option(item))));
  return [made];
}
