/** A canvas over the slide whose drawing plane is the slide itself: what is drawn in level-0 px stays on the tissue. */
import OpenSeadragon from 'openseadragon';

export type Draw = (context: CanvasRenderingContext2D, screenPxPerLevel0Px: number) => void;

export class SlideCanvas {
  readonly element: HTMLCanvasElement = document.createElement('canvas');
  private readonly viewer: OpenSeadragon.Viewer;
  private readonly draw: Draw;
  private readonly hasContent: () => boolean;

  /**
   * Lies above what was there before, lets the pointer through, and is drawn again whenever the view moves.
   * @param hasContent whether there is anything to draw: a canvas without costs nothing.
   */
  constructor(viewer: OpenSeadragon.Viewer, name: string, draw: Draw, hasContent: () => boolean) {
    this.viewer = viewer;
    this.draw = draw;
    this.hasContent = hasContent;
    this.element.className = 'slide-canvas';
    this.element.dataset.layer = name;
    this.element.style.display = 'none';
    viewer.canvas.append(this.element);
    viewer.addHandler('update-viewport', () => this.redraw());
  }

  redraw(): void {
    const isEmpty = !this.hasContent();
    if (isEmpty && this.element.style.display === 'none') return;
    this.element.style.display = isEmpty ? 'none' : '';
    const ratio = window.devicePixelRatio;
    const [width, height] = [this.viewer.canvas.clientWidth, this.viewer.canvas.clientHeight];
    const [pixelWidth, pixelHeight] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.element.width !== pixelWidth || this.element.height !== pixelHeight) {
      this.element.width = pixelWidth;
      this.element.height = pixelHeight;
    }
    const context = this.element.getContext('2d')!;
    context.resetTransform();
    // In halves: Chromium without a graphics card forgets to show a whole canvas cleared with nothing drawn after it.
    const half = pixelHeight >> 1;
    context.clearRect(0, 0, pixelWidth, half);
    context.clearRect(0, half, pixelWidth, pixelHeight - half);
    const picture = this.viewer.world.getItemAt(0);
    if (!picture || isEmpty) return;
    // Three points tell shift, scale and turn; a thousand pixels apart, so that rounding does not show.
    const [zero, right, down] = [
      [0, 0],
      [1000, 0],
      [0, 1000],
    ].map(([x, y]) => picture.imageToViewerElementCoordinates(new OpenSeadragon.Point(x!, y!)).times(ratio)) as [
      OpenSeadragon.Point,
      OpenSeadragon.Point,
      OpenSeadragon.Point,
    ];
    const [a, b] = [(right.x - zero.x) / 1000, (right.y - zero.y) / 1000];
    const [c, d] = [(down.x - zero.x) / 1000, (down.y - zero.y) / 1000];
    context.setTransform(a, b, c, d, zero.x, zero.y);
    this.draw(context, Math.hypot(a, b));
  }
}
