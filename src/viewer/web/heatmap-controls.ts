/** The controls of heatmap and outline, and the legend: what they say is what is shown. */
import type { SlideView } from '../api.ts';
import { COLOUR_MAPS, type ColourMap, pixelsOf } from './colour-maps.ts';
import { byId } from './element.ts';
import { figure, percent } from './figures.ts';
import type { Heatmap, Place, ScoreScale } from './heatmap.ts';
import type { Outline } from './outline.ts';

export class HeatmapControls {
  private readonly heatmap: Heatmap;
  private readonly column = byId<HTMLSelectElement>('score-column');
  private readonly map = byId<HTMLSelectElement>('colour-map');
  private readonly opacity = byId<HTMLInputElement>('opacity');
  private readonly from = byId<HTMLInputElement>('threshold-from');
  private readonly to = byId<HTMLInputElement>('threshold-to');
  private readonly smooth = byId<HTMLInputElement>('smooth');
  private readonly heatmapShown = byId<HTMLInputElement>('heatmap-shown');
  private readonly outlineShown = byId<HTMLInputElement>('outline-shown');

  /** Of a slide under way. */
  private isPartial = false;
  private computed: { readonly caption: string; readonly before: Record<string, string> } | null = null;

  /** `onColumn` is called when another score is chosen, `onChange` when anything else is. */
  constructor(heatmap: Heatmap, outline: Outline, onColumn: () => void, onChange: () => void) {
    this.heatmap = heatmap;
    this.map.replaceChildren(...COLOUR_MAPS.map((name) => new Option(nameOf(name), name)));
    this.heatmapShown.addEventListener('change', () => heatmap.setVisible(this.heatmapShown.checked));
    this.outlineShown.addEventListener('change', () => outline.setVisible(this.outlineShown.checked));
    this.opacity.addEventListener('input', () => this.applyOpacity());
    this.column.addEventListener('change', () => {
      if (!this.showsComputed) {
        const chosen = this.column.value;
        this.withdrawComputed();
        this.column.value = chosen;
      }
      onColumn();
    });
    const restyle = () => {
      this.restyle();
      onChange();
    };
    for (const control of [this.map, this.smooth]) control.addEventListener('change', restyle);
    this.from.addEventListener('input', () => {
      this.to.value = String(Math.max(Number(this.to.value), Number(this.from.value)));
      restyle();
    });
    this.to.addEventListener('input', () => {
      this.from.value = String(Math.min(Number(this.to.value), Number(this.from.value)));
      restyle();
    });
    for (const choice of document.querySelectorAll(SCALE_CHOICES)) choice.addEventListener('change', restyle);
    this.applyOpacity();
    this.restyle();
  }

  /** Fits the controls to what a slide has; the score that was chosen stays if the slide has it. */
  offer({ scoreColumns, scoresProblem, hasTissue, live }: SlideView): void {
    this.isPartial = live !== null;
    this.withdrawComputed();
    const before = this.column.value;
    this.column.replaceChildren(...scoreColumns.map((column) => new Option(nameOf(column), column)));
    if (scoreColumns.includes(before)) this.column.value = before;
    byId('heatmap-controls').hidden = scoreColumns.length === 0;
    byId('scores-problem').hidden = scoresProblem === null;
    byId('scores-problem').textContent = scoresProblem ?? '';
    this.outlineShown.parentElement!.hidden = !hasTissue;
  }

  /** The chosen score column; null when there is none. */
  get chosenColumn(): string | null {
    return this.column.value || null;
  }

  /** Whether what was computed just now is chosen, which no column of the bag has. */
  get showsComputed(): boolean {
    return this.column.value === COMPUTED;
  }

  /** Offers scores that no column has, and chooses them; `signed` ones in colours around zero. */
  offerComputed(name: string, caption: string, signed: boolean): void {
    this.withdrawComputed();
    this.computed = { caption, before: this.settings };
    this.column.append(new Option(name, COMPUTED));
    this.column.value = COMPUTED;
    if (signed) this.settings = { map: 'diverging', scale: 'raw' };
  }

  /** The column and the colours of before come back. */
  withdrawComputed(): void {
    if (!this.computed) return;
    const { before } = this.computed;
    this.computed = null;
    this.column.querySelector(`[value="${COMPUTED}"]`)?.remove();
    this.settings = before;
  }

  /** As part of an address. */
  get settings(): Record<string, string> {
    const score = this.showsComputed ? '' : this.column.value;
    return { score, map: this.map.value, scale: scoreScale(), opacity: this.opacity.value };
  }

  /** Takes what an address says; what it does not say stays. */
  set settings({ score, map, scale, opacity }: Partial<Record<string, string>>) {
    if (score && [...this.column.options].some(({ value }) => value === score)) this.column.value = score;
    if (COLOUR_MAPS.includes(map as ColourMap)) this.map.value = map!;
    const choice = scale && document.querySelector<HTMLInputElement>(`${SCALE_CHOICES}[value="${CSS.escape(scale)}"]`);
    if (choice) choice.checked = true;
    if (opacity && /^\d{1,3}$/.test(opacity)) this.opacity.value = opacity;
    this.applyOpacity();
    this.restyle();
  }

  showLegend(): void {
    const raw = scoreScale() === 'raw';
    const range = this.heatmap.range;
    byId('legend').hidden = range === null;
    if (!range) return;
    byId('legend-low').textContent = raw ? figure(range.low) : 'lowest';
    byId('legend-high').textContent = raw ? figure(range.high) : 'highest';
    const [from, to] = [Number(this.from.value), Number(this.to.value)];
    byId('legend-caption').textContent = [
      this.showsComputed ? this.computed!.caption : '',
      this.showsComputed && raw
        ? ''
        : raw
          ? 'Colour follows the score itself.'
          : `Colour follows the rank among the patches of this slide${this.isPartial ? ' read so far' : ''}.`,
      from > 0 || to < 100 ? `Only ${from} to ${to} % of the scale are shown.` : '',
      this.smooth.checked ? 'Smoothed: colours between the middles of patches are interpolated, not measured.' : '',
    ]
      .filter(Boolean)
      .join(' ');
  }

  /** The score at a place, in words; empty where there is none to be seen. */
  scoreAt(place: Place | null): string {
    const score = this.heatmap.point(this.heatmapShown.checked ? place : null);
    if (!score || !this.chosenColumn) return '';
    return `${this.column.selectedOptions[0]!.text} ${figure(score.value)}, above ${percent(score.percentile)} of patches`;
  }

  toggleHeatmap(): void {
    this.heatmapShown.click();
  }

  toggleOutline(): void {
    this.outlineShown.click();
  }

  toggleSmooth(): void {
    this.smooth.click();
  }

  toggleScale(): void {
    document.querySelector<HTMLInputElement>(`${SCALE_CHOICES}:not(:checked)`)?.click();
  }

  nextMap(): void {
    this.map.selectedIndex = (this.map.selectedIndex + 1) % this.map.options.length;
    this.map.dispatchEvent(new Event('change'));
  }

  changeOpacity(percent: number): void {
    this.opacity.value = String(Number(this.opacity.value) + percent);
    this.applyOpacity();
  }

  private restyle(): void {
    const map = this.map.value as ColourMap;
    const [from, to] = [Number(this.from.value) / 100, Number(this.to.value) / 100];
    this.heatmap.restyle({ scale: scoreScale(), map, from, to, smooth: this.smooth.checked });
    byId('threshold-text').textContent = `${this.from.value} – ${this.to.value} %`;
    paintLegendBar(map);
    this.showLegend();
  }

  private applyOpacity(): void {
    byId('opacity-text').textContent = `${this.opacity.value} %`;
    this.heatmap.setOpacity(Number(this.opacity.value) / 100);
  }
}

/** No column of a bag has such a name. */
const COMPUTED = '(computed)';
const SCALE_CHOICES = 'input[name="score-scale"]';

function scoreScale(): ScoreScale {
  return document.querySelector<HTMLInputElement>(`${SCALE_CHOICES}:checked`)!.value as ScoreScale;
}

/** `attention_raw` as `Attention raw`. */
export function nameOf(column: string): string {
  const words = column.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function paintLegendBar(map: ColourMap): void {
  const colours = pixelsOf(map);
  const picture = new ImageData(colours.length, 1);
  new Uint32Array(picture.data.buffer).set(colours);
  byId<HTMLCanvasElement>('legend-bar').getContext('2d')!.putImageData(picture, 0, 0);
  byId('legend-bar').setAttribute('aria-label', `Colours of the map ${map}, from low to high`);
}
