/** The outline of the tissue mask over the slide. */
import type { FeatureCollection, Position } from 'geojson';
import type OpenSeadragon from 'openseadragon';
import { SlideCanvas } from './slide-canvas.ts';

export class Outline {
  private readonly canvas: SlideCanvas;
  private path = new Path2D();
  private rings = 0;

  constructor(viewer: OpenSeadragon.Viewer) {
    this.canvas = new SlideCanvas(
      viewer,
      'outline',
      (context, scale) => this.draw(context, scale),
      () => this.rings > 0,
    );
    this.setVisible(false);
  }

  /** Polygons in level-0 px; null shows nothing. */
  show(tissue: FeatureCollection | null): void {
    this.path = new Path2D();
    this.rings = 0;
    for (const { geometry } of tissue?.features ?? []) {
      if (geometry.type === 'Polygon') this.addRings(geometry.coordinates);
      if (geometry.type === 'MultiPolygon') for (const rings of geometry.coordinates) this.addRings(rings);
    }
    this.canvas.redraw();
  }

  setVisible(visible: boolean): void {
    this.canvas.element.hidden = !visible;
  }

  private addRings(rings: readonly (readonly Position[])[]): void {
    for (const ring of rings) {
      this.rings++;
      ring.forEach(([x, y], i) => {
        if (i === 0) this.path.moveTo(x!, y!);
        else this.path.lineTo(x!, y!);
      });
      this.path.closePath();
    }
  }

  /** A dark line in a light one, seen on any tissue. */
  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    for (const [colour, width] of [
      ['#ffffffd0', 3.5],
      ['#0b3c5d', 1.5],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width * pixel;
      context.stroke(this.path);
    }
  }
}
