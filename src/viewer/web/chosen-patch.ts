/** The patch that one has chosen: outlined on the slide, shown in the panel with what can be asked about it. */
import type OpenSeadragon from 'openseadragon';
import type { SlideView } from '../api.ts';
import { byId } from './element.ts';
import { count, length } from './figures.ts';
import { type Patch, patchPicture } from './patch-picture.ts';
import { SlideCanvas } from './slide-canvas.ts';

export class ChosenPatch {
  private slide: SlideView | null = null;
  private patch: Patch | null = null;
  private readonly canvas: SlideCanvas;
  private readonly onChoose: () => void;

  /** `onChoose` is called when another patch is chosen, or none. */
  constructor(viewer: OpenSeadragon.Viewer, onChoose: () => void) {
    this.onChoose = onChoose;
    this.canvas = new SlideCanvas(
      viewer,
      'chosen',
      (context, scale) => this.draw(context, scale),
      () => this.patch !== null,
    );
  }

  /** Another slide, of which no patch is chosen yet. */
  show(slide: SlideView): void {
    this.slide = slide;
    byId('chosen').hidden = slide.scoreColumns.length === 0;
    this.choose(null);
  }

  get current(): { readonly slide: SlideView; readonly patch: Patch } | null {
    return this.slide && this.patch && { slide: this.slide, patch: this.patch };
  }

  choose(patch: Patch | null): void {
    this.patch = patch;
    const { slide } = this;
    byId('chosen-hint').hidden = patch !== null;
    byId('chosen-actions').hidden = patch === null || slide?.live !== null;
    byId('chosen-picture').replaceChildren(
      ...(patch && slide?.picture ? [patchPicture(slide.id, patch, slide.picture)] : []),
    );
    byId('chosen-place').textContent = patch && slide ? placeOf(patch, slide) : '';
    this.canvas.redraw();
    this.onChoose();
  }

  /** For one who chose it without a pointer: what can be done is at hand. */
  focus(): void {
    byId('chosen').scrollIntoView({ block: 'nearest' });
    byId('similar-find').focus();
  }

  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    if (!this.patch) return;
    const { x, y, side } = this.patch;
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    for (const [colour, width] of [
      ['#ffffff', 6],
      ['#000000', 4],
      ['#ff2fa8', 2.5],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width * pixel;
      context.strokeRect(x, y, side, side);
    }
  }
}

function placeOf({ x, y, side }: Patch, { facts }: SlideView): string {
  const size = facts?.mpp ? length(side * facts.mpp) : `${count(side)} px`;
  return `x ${count(x)}, y ${count(y)} px; ${size} wide`;
}
