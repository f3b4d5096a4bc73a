/** The heatmap: scores of patches as colours over the slide. */
import type OpenSeadragon from 'openseadragon';
import type { Scores } from '../api.ts';
import {
  cellMeans,
  type PatchGrid,
  patchAt,
  patchGrid,
  percentiles,
  type Range,
  rangeOf,
  stretched,
} from './score-raster.ts';
import { SlideCanvas } from './slide-canvas.ts';
import { VIRIDIS_PIXELS } from './viridis.ts';

/** What a colour stands for: a patch's rank among the slide's patches, or its score between the least and the greatest. */
export type ScoreScale = 'percentile' | 'raw';

export interface PatchScore {
  readonly value: number;
  /** Share of patches below it, 0..1. */
  readonly percentile: number;
}

interface Shown {
  readonly scores: Scores;
  readonly side: number;
  readonly grid: PatchGrid;
  readonly range: Range;
  readonly percentiles: Float32Array;
}

export class Heatmap {
  private readonly canvas: SlideCanvas;
  private readonly raster = document.createElement('canvas');
  private shown: Shown | null = null;
  private scale: ScoreScale = 'percentile';

  constructor(viewer: OpenSeadragon.Viewer) {
    this.canvas = new SlideCanvas(viewer, 'heatmap', (context) => this.draw(context));
  }

  /** Shows scores of patches of side `side` (level-0 px); null shows nothing. */
  show(scores: Scores | null, side = 0): void {
    this.shown = scores?.values.length
      ? {
          scores,
          side,
          grid: patchGrid(scores.coords, side),
          range: rangeOf(scores.values),
          percentiles: percentiles(scores.values),
        }
      : null;
    this.colour();
  }

  setScale(scale: ScoreScale): void {
    this.scale = scale;
    this.colour();
  }

  /** 0..1. */
  setOpacity(opacity: number): void {
    this.canvas.element.style.opacity = String(opacity);
  }

  setVisible(visible: boolean): void {
    this.canvas.element.hidden = !visible;
  }

  /** Least and greatest score, null when nothing is shown. */
  get range(): Range | null {
    return this.shown?.range ?? null;
  }

  /** The score of the patch under a level-0 point. */
  at(x: number, y: number): PatchScore | null {
    if (!this.shown) return null;
    const patch = patchAt(this.shown.scores.coords, this.shown.side, x, y);
    if (patch < 0) return null;
    return { value: this.shown.scores.values[patch]!, percentile: this.shown.percentiles[patch]! };
  }

  private colour(): void {
    if (this.shown) {
      const { grid, scores, range } = this.shown;
      const shares = this.scale === 'raw' ? stretched(scores.values, range) : this.shown.percentiles;
      const picture = new ImageData(grid.columns, grid.rows);
      const pixels = new Uint32Array(picture.data.buffer);
      cellMeans(grid, shares).forEach((share, cell) => {
        if (!Number.isNaN(share)) pixels[cell] = VIRIDIS_PIXELS[Math.round(share * 255)]!;
      });
      this.raster.width = grid.columns;
      this.raster.height = grid.rows;
      this.raster.getContext('2d')!.putImageData(picture, 0, 0);
    }
    this.canvas.redraw();
  }

  private draw(context: CanvasRenderingContext2D): void {
    if (!this.shown) return;
    const { left, top, cellWidth, cellHeight, columns, rows } = this.shown.grid;
    context.imageSmoothingEnabled = false; // a patch has one score; smooth edges would claim more
    context.drawImage(this.raster, left, top, columns * cellWidth, rows * cellHeight);
  }
}
