/** Hatching over what cannot be read of a slide: it must not look like glass. */
import type OpenSeadragon from 'openseadragon';
import type { SlideFacts } from '../api.ts';
import { SlideCanvas } from './slide-canvas.ts';

/** Distance of the lines in CSS px. */
const PITCH_PX = 9;

export class Holes {
  private readonly canvas: SlideCanvas;
  private holes: SlideFacts['holes'] = [];

  constructor(viewer: OpenSeadragon.Viewer) {
    this.canvas = new SlideCanvas(
      viewer,
      'holes',
      (context, scale) => this.draw(context, scale),
      () => this.holes.length > 0,
    );
  }

  show(holes: SlideFacts['holes']): void {
    this.holes = holes;
    this.canvas.redraw();
  }

  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    for (const { x, y, width, height } of this.holes) {
      context.save();
      context.beginPath();
      context.rect(x, y, width, height);
      context.clip();
      context.fillStyle = '#f4f4f4';
      context.fillRect(x, y, width, height);
      context.strokeStyle = '#a3262a';
      context.lineWidth = 1.5 * pixel;
      context.beginPath();
      // Lines stay where they are on the slide, and no more of them are drawn than are seen.
      const pitch = Math.max(PITCH_PX * pixel, (width + height) / 2000);
      for (let line = -height; line < width; line += pitch) {
        context.moveTo(x + line, y + height);
        context.lineTo(x + line + height, y);
      }
      context.rect(x, y, width, height);
      context.stroke();
      context.restore();
    }
  }
}
