/** The heatmap: scores of patches as colours over the slide. */
import type OpenSeadragon from 'openseadragon';
import type { Scores } from '../api.ts';
import { type ColourMap, pixelsOf } from './colour-maps.ts';
import type { Patch } from './patch-picture.ts';
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

/** What a colour stands for: a patch's rank among the slide's patches, or its score between the least and the greatest. */
export type ScoreScale = 'percentile' | 'raw';

export interface HeatmapStyle {
  readonly scale: ScoreScale;
  readonly map: ColourMap;
  /** Shares of the scale, 0..1: what lies outside is left clear. */
  readonly from: number;
  readonly to: number;
  readonly smooth: boolean;
}

export interface PatchScore {
  readonly value: number;
  /** Share of patches below it, 0..1. */
  readonly percentile: number;
}

export interface Place {
  readonly x: number;
  readonly y: number;
}

interface Shown {
  readonly scores: Scores;
  readonly side: number;
  readonly grid: PatchGrid;
  readonly range: Range;
  readonly percentiles: Float32Array;
  /** Share of each cell by scale, made when it is first shown: a change of colours is then one pass over the cells. */
  readonly cells: Map<string, Float32Array>;
}

export class Heatmap {
  private readonly canvas: SlideCanvas;
  private readonly hover: SlideCanvas;
  private readonly raster = document.createElement('canvas');
  private picture: ImageData | null = null;
  private shown: Shown | null = null;
  private hovered = -1;
  private visible = true;
  private veiled = false;
  private style: HeatmapStyle = { scale: 'percentile', map: 'viridis', from: 0, to: 1, smooth: false };

  /** @param follower is given the same style; it lies above. */
  constructor(
    viewer: OpenSeadragon.Viewer,
    layer = 'heatmap',
    private readonly follower: Heatmap | null = null,
  ) {
    this.canvas = new SlideCanvas(
      viewer,
      layer,
      (context) => this.draw(context),
      () => this.shown !== null,
    );
    this.hover = new SlideCanvas(
      viewer,
      `${layer}-hover`,
      (context, scale) => this.drawHover(context, scale),
      () => this.hovered >= 0,
    );
  }

  /** Shows only a part of the view: shares of its width, 0..1. */
  clip(from: number, to: number): void {
    this.canvas.element.style.clipPath = from === 0 && to === 1 ? '' : `inset(0 ${100 * (1 - to)}% 0 ${100 * from}%)`;
  }

  /** Shows scores of patches of side `side` (level-0 px); null shows nothing. */
  show(scores: Scores | null, side = 0): void {
    this.hovered = -1;
    this.picture = null;
    this.shown = scores?.values.length
      ? {
          scores,
          side,
          grid: patchGrid(scores.coords, side),
          range: rangeOf(scores.values),
          percentiles: percentiles(scores.values),
          cells: new Map(),
        }
      : null;
    this.colour();
    this.hover.redraw();
  }

  restyle(style: HeatmapStyle): void {
    this.style = style;
    this.colour();
    this.follower?.restyle(style);
  }

  /** 0..1. */
  setOpacity(opacity: number): void {
    this.canvas.element.style.opacity = String(opacity);
    this.follower?.setOpacity(opacity);
  }

  setVisible(visible: boolean): void {
    this.visible = visible;
    this.hide();
    this.follower?.setVisible(visible);
  }

  /** Out of sight for a while, whether or not it is wanted. */
  veil(veiled: boolean): void {
    this.veiled = veiled;
    this.hide();
  }

  private hide(): void {
    this.canvas.element.hidden = !this.visible || this.veiled;
    this.hover.element.hidden = !this.visible;
  }

  /** The scores that the ends of the colours stand for in the raw scale; null when nothing is shown. */
  get range(): Range | null {
    return this.shown && rawRange(this.shown.range, this.style.map);
  }

  /** The score of the patch under a level-0 point, whose outline is then drawn. */
  point(place: Place | null): PatchScore | null {
    const patch = place && this.shown ? patchAt(this.shown.scores.coords, this.shown.side, place.x, place.y) : -1;
    if (patch !== this.hovered) {
      this.hovered = patch;
      this.hover.redraw();
    }
    if (!this.shown || patch < 0) return null;
    return { value: this.shown.scores.values[patch]!, percentile: this.shown.percentiles[patch]! };
  }

  /** The patch under a level-0 point. */
  patchAt(place: Place): Patch | null {
    if (!this.shown) return null;
    const { scores, side } = this.shown;
    const row = patchAt(scores.coords, side, place.x, place.y);
    return row < 0 ? null : { x: scores.coords[2 * row]!, y: scores.coords[2 * row + 1]!, side };
  }

  private colour(): void {
    if (this.shown) {
      const { grid } = this.shown;
      const { map, from, to } = this.style;
      const shares = this.sharesOfCells(this.shown);
      this.picture ??= new ImageData(grid.columns, grid.rows);
      const pixels = new Uint32Array(this.picture.data.buffer);
      const colours = pixelsOf(map);
      for (let cell = 0; cell < pixels.length; cell++) {
        const share = shares[cell]!; // NaN where no patch lies: both comparisons are false
        pixels[cell] = share >= from && share <= to ? colours[Math.round(share * 255)]! : 0;
      }
      if (this.raster.width !== grid.columns || this.raster.height !== grid.rows) {
        this.raster.width = grid.columns;
        this.raster.height = grid.rows;
      }
      this.raster.getContext('2d')!.putImageData(this.picture, 0, 0);
    }
    this.canvas.redraw();
  }

  private sharesOfCells({ grid, scores, range, percentiles, cells }: Shown): Float32Array {
    const { scale, map } = this.style;
    const key = scale === 'raw' ? `raw ${JSON.stringify(rawRange(range, map))}` : scale;
    const found = cells.get(key);
    if (found) return found;
    const made = cellMeans(grid, scale === 'raw' ? stretched(scores.values, rawRange(range, map)) : percentiles);
    cells.set(key, made);
    return made;
  }

  private draw(context: CanvasRenderingContext2D): void {
    if (!this.shown) return;
    const { left, top, cellWidth, cellHeight, columns, rows } = this.shown.grid;
    // A patch has one score; smooth edges claim more, and the legend says so.
    context.imageSmoothingEnabled = this.style.smooth;
    context.imageSmoothingQuality = 'high';
    context.drawImage(this.raster, left, top, columns * cellWidth, rows * cellHeight);
  }

  private drawHover(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    if (!this.shown || this.hovered < 0) return;
    const { coords } = this.shown.scores;
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    const [x, y, side] = [coords[2 * this.hovered]!, coords[2 * this.hovered + 1]!, this.shown.side];
    for (const [colour, width] of [
      ['#000000', 3],
      ['#ffffff', 1],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width * pixel;
      context.strokeRect(x, y, side, side);
    }
  }
}

/** A diverging map has its middle at zero, where scores of both signs are. */
function rawRange(range: Range, map: ColourMap): Range {
  if (map !== 'diverging' || range.low >= 0 || range.high <= 0) return range;
  const most = Math.max(-range.low, range.high);
  return { low: -most, high: most };
}
