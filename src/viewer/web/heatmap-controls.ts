/** The controls of heatmap and outline, and the legend: what they say is what is shown. */
import type { SlideView } from '../api.ts';
import { byId } from './element.ts';
import { figure, percent } from './figures.ts';
import type { Heatmap, ScoreScale } from './heatmap.ts';
import type { Outline } from './outline.ts';
import type { Place } from './stage.ts';
import { VIRIDIS_PIXELS } from './viridis.ts';

export class HeatmapControls {
  private readonly heatmap: Heatmap;
  private readonly column = byId<HTMLSelectElement>('score-column');
  private readonly opacity = byId<HTMLInputElement>('opacity');
  private readonly heatmapShown = byId<HTMLInputElement>('heatmap-shown');
  private readonly outlineShown = byId<HTMLInputElement>('outline-shown');

  /** `onColumn` is called when another score is chosen. */
  constructor(heatmap: Heatmap, outline: Outline, onColumn: () => void) {
    this.heatmap = heatmap;
    this.heatmapShown.addEventListener('change', () => heatmap.setVisible(this.heatmapShown.checked));
    this.outlineShown.addEventListener('change', () => outline.setVisible(this.outlineShown.checked));
    this.opacity.addEventListener('input', () => this.applyOpacity());
    this.column.addEventListener('change', onColumn);
    for (const choice of document.querySelectorAll(SCALE_CHOICES)) {
      choice.addEventListener('change', () => {
        heatmap.setScale(scoreScale());
        this.showLegend();
      });
    }
    paintLegendBar();
    this.applyOpacity();
  }

  /** Fits the controls to what a slide has. */
  offer({ scoreColumns, scoresProblem, hasTissue }: SlideView): void {
    this.column.replaceChildren(...scoreColumns.map((column) => new Option(nameOf(column), column)));
    byId('heatmap-controls').hidden = scoreColumns.length === 0;
    byId('scores-problem').hidden = scoresProblem === null;
    byId('scores-problem').textContent = scoresProblem ?? '';
    this.outlineShown.parentElement!.hidden = !hasTissue;
  }

  /** The chosen score column; null when there is none. */
  get chosenColumn(): string | null {
    return this.column.value || null;
  }

  showLegend(): void {
    const raw = scoreScale() === 'raw';
    const range = this.heatmap.range;
    byId('legend').hidden = range === null;
    if (!range) return;
    byId('legend-low').textContent = raw ? figure(range.low) : 'lowest';
    byId('legend-high').textContent = raw ? figure(range.high) : 'highest';
    byId('legend-caption').textContent = raw
      ? 'Colour follows the score itself.'
      : 'Colour follows the rank among the patches of this slide.';
  }

  /** The score at a place, in words; empty where there is none to be seen. */
  scoreAt(place: Place | null): string {
    const score = place && this.heatmapShown.checked ? this.heatmap.at(place.x, place.y) : null;
    if (!score || !this.chosenColumn) return '';
    return `${nameOf(this.chosenColumn)} ${figure(score.value)}, above ${percent(score.percentile)} of patches`;
  }

  toggleHeatmap(): void {
    this.heatmapShown.click();
  }

  toggleOutline(): void {
    this.outlineShown.click();
  }

  toggleScale(): void {
    document.querySelector<HTMLInputElement>(`${SCALE_CHOICES}:not(:checked)`)?.click();
  }

  changeOpacity(percent: number): void {
    this.opacity.value = String(Number(this.opacity.value) + percent);
    this.applyOpacity();
  }

  private applyOpacity(): void {
    byId('opacity-text').textContent = `${this.opacity.value} %`;
    this.heatmap.setOpacity(Number(this.opacity.value) / 100);
  }
}

const SCALE_CHOICES = 'input[name="score-scale"]';

function scoreScale(): ScoreScale {
  return document.querySelector<HTMLInputElement>(`${SCALE_CHOICES}:checked`)!.value as ScoreScale;
}

/** `attention_raw` as `Attention raw`. */
function nameOf(column: string): string {
  const words = column.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function paintLegendBar(): void {
  const picture = new ImageData(VIRIDIS_PIXELS.length, 1);
  new Uint32Array(picture.data.buffer).set(VIRIDIS_PIXELS);
  byId<HTMLCanvasElement>('legend-bar').getContext('2d')!.putImageData(picture, 0, 0);
}
