/** Drawing on the slide with a pointer: one shape at a time, in level-0 pixels. */
import OpenSeadragon from 'openseadragon';
import { SlideCanvas } from './slide-canvas.ts';

export type Tool = 'polygon' | 'freehand' | 'rectangle' | 'point' | 'ruler' | 'lasso';
export type Point = [x: number, y: number];

/** Points closer than this on the screen are one. */
const NEAR_PX = 3;
/** A click this close to the first corner closes a polygon. */
const CLOSE_PX = 9;

export class Drawing {
  private readonly viewer: OpenSeadragon.Viewer;
  private readonly surface = document.createElement('div');
  private readonly canvas: SlideCanvas;
  private readonly onDone: (tool: Tool, points: Point[]) => void;
  private readonly onChange: (points: readonly Point[], tool: Tool | null) => void;
  private tool: Tool | null = null;
  private points: Point[] = [];
  /** Where the pointer is, beyond the last point. */
  private ahead: Point | null = null;
  private down = false;

  /** `onDone` gets each finished shape, `onChange` what is being drawn. */
  constructor(
    viewer: OpenSeadragon.Viewer,
    host: HTMLElement,
    onDone: (tool: Tool, points: Point[]) => void,
    onChange: (points: readonly Point[], tool: Tool | null) => void,
  ) {
    this.viewer = viewer;
    this.onDone = onDone;
    this.onChange = onChange;
    this.canvas = new SlideCanvas(
      viewer,
      'drawing',
      (context, scale) => this.draw(context, scale),
      () => this.points.length > 0,
    );
    this.surface.className = 'drawing-surface';
    this.surface.hidden = true;
    host.append(this.surface);
    this.surface.addEventListener('pointerdown', (event) => this.press(event));
    this.surface.addEventListener('pointermove', (event) => this.move(event));
    this.surface.addEventListener('pointerup', (event) => this.release(event));
    this.surface.addEventListener('dblclick', () => this.finish());
    this.surface.addEventListener('wheel', (event) => this.zoom(event), { passive: false });
  }

  get current(): Tool | null {
    return this.tool;
  }

  choose(tool: Tool | null): void {
    this.tool = tool;
    this.points = [];
    this.ahead = null;
    this.down = false;
    this.surface.hidden = tool === null;
    this.changed();
  }

  /** Gives up the shape; without one, the tool. */
  cancel(): void {
    if (this.points.length > 0) this.choose(this.tool);
    else this.choose(null);
  }

  /** Takes back the last corner. */
  back(): boolean {
    if (this.points.length === 0) return false;
    this.points.pop();
    this.changed();
    return true;
  }

  /** Ends a polygon. */
  finish(): void {
    const { tool } = this;
    if (tool !== 'polygon') return;
    const points = this.points.filter((point, i) => i === 0 || this.apart(point, this.points[i - 1]!) > NEAR_PX);
    if (points.length >= 3) this.done(points);
  }

  private press(event: PointerEvent): void {
    if (event.button !== 0 || !this.tool) return;
    const at = this.placeOf(event);
    this.surface.setPointerCapture(event.pointerId);
    if (this.tool === 'point') this.done([at]);
    else if (this.tool !== 'polygon') {
      this.down = true;
      this.points = [at];
      this.changed();
    } else if (this.points.length >= 3 && this.apart(at, this.points[0]!) < CLOSE_PX) this.finish();
    else {
      this.points.push(at);
      this.changed();
    }
  }

  private move(event: PointerEvent): void {
    const at = this.placeOf(event);
    this.ahead = at;
    if (this.down && (this.tool === 'freehand' || this.tool === 'lasso')) {
      if (this.apart(at, this.points.at(-1)!) > NEAR_PX) this.points.push(at);
    }
    if (this.points.length > 0) this.changed();
  }

  private release(event: PointerEvent): void {
    if (!this.down) return;
    this.down = false;
    const shape = this.shapeTo(this.placeOf(event));
    if (shape) {
      this.done(shape);
      return;
    }
    this.points = [];
    this.changed();
  }

  /** What a drag that ends here has drawn; null when it is too small to be meant. */
  private shapeTo(at: Point): Point[] | null {
    const [x0, y0] = this.points[0]!;
    if (this.tool === 'freehand' || this.tool === 'lasso') return this.points.length >= 3 ? this.points : null;
    if (this.apart([x0, y0], at) <= NEAR_PX) return null;
    if (this.tool === 'ruler') return [[x0, y0], at];
    const [left, right] = [Math.min(x0, at[0]), Math.max(x0, at[0])];
    const [top, bottom] = [Math.min(y0, at[1]), Math.max(y0, at[1])];
    return [
      [left, top],
      [right, top],
      [right, bottom],
      [left, bottom],
    ];
  }

  private done(points: Point[]): void {
    const tool = this.tool!;
    this.points = [];
    this.ahead = null;
    this.down = false;
    this.changed();
    this.onDone(
      tool,
      points.map(([x, y]) => [Math.round(x), Math.round(y)]),
    );
  }

  private changed(): void {
    this.canvas.redraw();
    this.onChange(this.ahead && this.points.length > 0 ? [...this.points, this.ahead] : this.points, this.tool);
  }

  private zoom(event: WheelEvent): void {
    event.preventDefault();
    const { left, top } = this.surface.getBoundingClientRect();
    const at = this.viewer.viewport.pointFromPixel(new OpenSeadragon.Point(event.clientX - left, event.clientY - top));
    this.viewer.viewport.zoomBy(event.deltaY < 0 ? 1.25 : 0.8, at).applyConstraints();
  }

  private placeOf({ clientX, clientY }: PointerEvent): Point {
    const { left, top } = this.surface.getBoundingClientRect();
    const image = this.viewer.world.getItemAt(0);
    const { x, y } = image.viewerElementToImageCoordinates(new OpenSeadragon.Point(clientX - left, clientY - top));
    return [x, y];
  }

  /** CSS px on the screen. */
  private apart([ax, ay]: Point, [bx, by]: Point): number {
    const zoom = this.viewer.world.getItemAt(0).viewportToImageZoom(this.viewer.viewport.getZoom(true));
    return Math.hypot(ax - bx, ay - by) * zoom;
  }

  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    if (this.points.length === 0) return;
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    const line = this.ahead && this.tool !== 'rectangle' ? [...this.points, this.ahead] : this.points;
    const path = new Path2D();
    if (this.tool === 'rectangle' && this.ahead) {
      const [[x0, y0], [x1, y1]] = [this.points[0]!, this.ahead];
      path.rect(x0, y0, x1 - x0, y1 - y0);
    } else line.forEach(([x, y], i) => void (i === 0 ? path.moveTo(x, y) : path.lineTo(x, y)));
    for (const [colour, width] of [
      ['#ffffff', 4],
      ['#b3005e', 2],
    ] as const) {
      context.strokeStyle = colour;
      context.lineWidth = width * pixel;
      context.stroke(path);
    }
  }
}
