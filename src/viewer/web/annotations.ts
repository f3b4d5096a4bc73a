/** Annotations of the shown slide: drawn, chosen, edited, taken back, kept on the server. */
import type { Geometry, Position } from 'geojson';
import type OpenSeadragon from 'openseadragon';
import type { Point, Tool } from './drawing.ts';
import { byId, element } from './element.ts';
import { length } from './figures.ts';
import { newId } from './new-id.ts';
import { type Annotation, getAnnotations, importAnnotations, removeAnnotation, saveAnnotation } from './server.ts';
import { SlideCanvas } from './slide-canvas.ts';

/** Classes to begin with, in QuPath's colours; those of the slide's annotations join them. */
const CLASSES: readonly (readonly [string, readonly [number, number, number]])[] = [
  ['Tumor', [200, 0, 0]],
  ['Stroma', [150, 200, 150]],
  ['Immune cells', [160, 90, 160]],
  ['Necrosis', [50, 50, 50]],
  ['Ignore*', [180, 180, 180]],
];

/** One step that can be taken back: annotations before and after, null where there was or is none. */
interface Step {
  readonly slide: string;
  readonly id: string;
  readonly before: Annotation | null;
  readonly after: Annotation | null;
}

const TOOL_NAMES: Readonly<Record<string, string>> = {
  polygon: 'Polygon',
  freehand: 'Freehand',
  rectangle: 'Rectangle',
  point: 'Point',
  ruler: 'Ruler',
  imported: 'Imported',
};

export class AnnotationLayer {
  private readonly canvas: SlideCanvas;
  private readonly viewer: OpenSeadragon.Viewer;
  private readonly list = byId('annotation-list');
  private readonly className = byId<HTMLInputElement>('annotation-class');
  private readonly note = byId<HTMLTextAreaElement>('annotation-note');
  private readonly complain: (error: unknown) => void;
  private readonly author: () => string;
  private slide: string | null = null;
  private mpp: number | null = null;
  private annotations = new Map<string, Annotation>();
  private chosen: string | null = null;
  private done: Step[] = [];
  private undone: Step[] = [];
  /** Corner of the chosen annotation that the pointer drags. */
  private dragged: { corner: number; before: Annotation } | null = null;

  constructor(viewer: OpenSeadragon.Viewer, author: () => string, complain: (error: unknown) => void) {
    this.viewer = viewer;
    this.author = author;
    this.complain = complain;
    this.canvas = new SlideCanvas(
      viewer,
      'annotations',
      (context, scale) => this.draw(context, scale),
      () => this.annotations.size > 0,
    );
    byId('annotation-classes').replaceChildren(...CLASSES.map(([name]) => new Option(name, name)));
    this.className.addEventListener('change', () => this.rename());
    this.note.addEventListener('change', () => this.rename());
    byId('annotation-remove').addEventListener('click', () => this.remove());
    byId('annotation-undo').addEventListener('click', () => this.undo());
    byId('annotation-redo').addEventListener('click', () => this.redo());
    byId('annotation-export').addEventListener('click', () => this.export());
    const file = byId<HTMLInputElement>('annotation-file');
    byId('annotation-import').addEventListener('click', () => file.click());
    file.addEventListener('change', async () => {
      const [chosen] = file.files ?? [];
      if (chosen) await this.import(await chosen.text()).catch(complain);
      file.value = '';
    });
    viewer.addHandler('canvas-click', (event) => {
      if (event.quick && this.chooseAt(event.position)) event.preventDefaultAction = true;
    });
    viewer.addHandler('canvas-press', (event) => this.grab(event.position));
    viewer.addHandler('canvas-drag', (event) => {
      if (this.dragged) {
        event.preventDefaultAction = true;
        this.drag(event.position);
      }
    });
    viewer.addHandler('canvas-release', () => this.drop());
  }

  /** Loads the annotations of a slide; null shows none. */
  async show(slide: string | null, mpp: number | null, signal: AbortSignal): Promise<void> {
    this.slide = slide;
    this.mpp = mpp;
    this.annotations = new Map();
    this.choose(null);
    if (slide === null) return;
    const { features } = await getAnnotations(slide, signal);
    if (this.slide !== slide) return;
    this.annotations = new Map(features.map((feature) => [String(feature.id), feature as Annotation]));
    this.refresh();
  }

  /** Takes a finished drawing. */
  add(tool: Tool, points: Point[]): void {
    const geometry = geometryOf(tool, points);
    const name = this.className.value.trim();
    const feature: Annotation = {
      type: 'Feature',
      id: newId(),
      geometry,
      properties: {
        objectType: 'annotation',
        ...(name && tool !== 'ruler' && { classification: { name, color: colourOf(name) } }),
        lamina: { tool, author: this.author() },
      },
    };
    this.apply({ slide: this.slide!, id: String(feature.id), before: null, after: feature });
    this.choose(String(feature.id));
  }

  remove(): void {
    const before = this.chosen && this.annotations.get(this.chosen);
    if (!before) return;
    this.apply({ slide: this.slide!, id: this.chosen!, before, after: null });
    this.choose(null);
  }

  undo(): void {
    const step = this.done.pop();
    if (!step || step.slide !== this.slide) return;
    this.undone.push(step);
    this.store({ ...step, before: step.after, after: step.before });
  }

  redo(): void {
    const step = this.undone.pop();
    if (!step || step.slide !== this.slide) return;
    this.done.push(step);
    this.store(step);
  }

  choose(id: string | null): void {
    this.chosen = id;
    const properties = id === null ? null : this.annotations.get(id)?.properties;
    byId('annotation-remove').toggleAttribute('disabled', !properties);
    this.note.disabled = !properties;
    if (properties) {
      this.className.value = properties.classification?.name ?? '';
      this.note.value = properties.metadata?.ANNOTATION_DESCRIPTION ?? '';
    } else this.note.value = '';
    this.refresh();
  }

  /** The rings of the chosen area; empty when none is chosen. */
  get chosenRings(): Point[][] {
    const geometry = this.chosen === null ? null : this.annotations.get(this.chosen)?.geometry;
    if (geometry?.type === 'Polygon') return [geometry.coordinates[0] as Point[]];
    if (geometry?.type === 'MultiPolygon') return geometry.coordinates.map((rings) => rings[0] as Point[]);
    return [];
  }

  async import(text: string): Promise<void> {
    if (this.slide === null) return;
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      throw new Error('This file is no GeoJSON. Export the annotations from QuPath as GeoJSON.');
    }
    for (const feature of await importAnnotations(this.slide, body, this.author())) {
      this.annotations.set(String(feature.id), feature);
    }
    this.refresh();
  }

  private export(): void {
    const collection = { type: 'FeatureCollection', features: [...this.annotations.values()] };
    const link = element('a', '');
    link.href = URL.createObjectURL(new Blob([JSON.stringify(collection)], { type: 'application/geo+json' }));
    link.download = `${this.slide}.geojson`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  private rename(): void {
    const before = this.chosen && this.annotations.get(this.chosen);
    if (!before) return;
    const [name, note] = [this.className.value.trim(), this.note.value.trim()];
    const { classification, metadata, ...rest } = before.properties;
    const properties = {
      ...rest,
      ...(name && { classification: { name, color: colourOf(name) } }),
      ...(note && { metadata: { ANNOTATION_DESCRIPTION: note } }),
    };
    this.apply({ slide: this.slide!, id: this.chosen!, before, after: { ...before, properties } });
  }

  private apply(step: Step): void {
    this.done.push(step);
    this.undone = [];
    this.store(step);
  }

  /** Shows a step at once and stores it; if that fails it stays on the screen, marked, and is tried again with the next one. */
  private store({ slide, id, after }: Step): void {
    if (after) this.annotations.set(id, after);
    else this.annotations.delete(id);
    if (this.chosen === id && !after) this.chosen = null;
    this.refresh();
    this.waiting.set(id, { slide, after });
    void this.flush();
  }

  private readonly waiting = new Map<string, { slide: string; after: Annotation | null }>();
  private flushing: Promise<void> | null = null;

  private flush(): Promise<void> {
    this.flushing ??= this.send().finally(() => {
      this.flushing = null;
    });
    return this.flushing;
  }

  private async send(): Promise<void> {
    byId('annotation-state').textContent = 'Saving …';
    for (const [id, change] of this.waiting) {
      try {
        if (change.after) await saveAnnotation(change.slide, change.after, this.author());
        else await removeAnnotation(change.slide, id, this.author());
        if (this.waiting.get(id) === change) this.waiting.delete(id);
      } catch (error) {
        byId('annotation-state').textContent = `${this.waiting.size} not saved yet; trying again.`;
        this.complain(error);
        setTimeout(() => void this.flush(), 3000);
        return;
      }
    }
    if (this.waiting.size > 0) return this.send();
    byId('annotation-state').textContent = this.annotations.size > 0 ? 'Saved.' : '';
  }

  private chooseAt(position: OpenSeadragon.Point): boolean {
    const place = this.placeOf(position);
    if (!place || this.annotations.size === 0) return false;
    const reach = this.reach(8);
    const hit = [...this.annotations].reverse().find(([, { geometry }]) => touches(geometry, place, reach));
    if (!hit && this.chosen === null) return false;
    this.choose(hit?.[0] ?? null);
    return hit !== undefined;
  }

  private grab(position: OpenSeadragon.Point): void {
    const before = this.chosen === null ? null : this.annotations.get(this.chosen);
    const place = this.placeOf(position);
    if (!before || !place) return;
    const corners = cornersOf(before.geometry);
    if (corners.length > 500) return; // a freehand line is redrawn, not mended corner by corner
    const reach = this.reach(9);
    const corner = corners.findIndex(([x, y]) => Math.hypot(x! - place[0], y! - place[1]) < reach);
    if (corner >= 0) this.dragged = { corner, before };
  }

  private drag(position: OpenSeadragon.Point): void {
    const place = this.placeOf(position);
    if (!this.dragged || !place) return;
    const moved = [Math.round(place[0]), Math.round(place[1])];
    const geometry = withCorner(this.dragged.before.geometry, this.dragged.corner, moved);
    this.annotations.set(this.chosen!, { ...this.dragged.before, geometry });
    this.canvas.redraw();
  }

  private drop(): void {
    const { dragged } = this;
    this.dragged = null;
    const after = this.chosen === null ? null : this.annotations.get(this.chosen);
    if (!dragged || !after || after === dragged.before) return;
    this.apply({ slide: this.slide!, id: this.chosen!, before: dragged.before, after });
  }

  private placeOf(position: OpenSeadragon.Point): Point | null {
    const image = this.viewer.world.getItemAt(0);
    if (!image) return null;
    const { x, y } = image.viewerElementToImageCoordinates(position);
    return [x, y];
  }

  /** CSS px as level-0 px. */
  private reach(pixels: number): number {
    return pixels / this.viewer.world.getItemAt(0).viewportToImageZoom(this.viewer.viewport.getZoom(true));
  }

  private refresh(): void {
    byId('annotation-undo').toggleAttribute('disabled', this.done.length === 0);
    byId('annotation-redo').toggleAttribute('disabled', this.undone.length === 0);
    byId('annotation-export').toggleAttribute('disabled', this.annotations.size === 0);
    this.list.replaceChildren(
      ...[...this.annotations].map(([id, annotation]) => {
        const { classification, name, lamina, metadata } = annotation.properties;
        const kind = TOOL_NAMES[lamina?.tool ?? ''] ?? annotation.geometry.type;
        const measured = measureOf(annotation.geometry, this.mpp);
        const label = [classification?.name ?? name ?? kind, measured].filter(Boolean).join(', ');
        const swatch = element('span', 'swatch');
        swatch.style.background = `rgb(${(classification?.color ?? NO_CLASS).join()})`;
        const button = element('button', 'annotation', swatch, element('span', '', label));
        const note = metadata?.ANNOTATION_DESCRIPTION;
        if (note) button.append(element('span', 'quiet', note));
        button.type = 'button';
        button.setAttribute('aria-pressed', String(id === this.chosen));
        button.addEventListener('click', () => this.choose(id));
        return element('li', '', button);
      }),
    );
    this.canvas.redraw();
  }

  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    for (const [id, { geometry, properties }] of this.annotations) {
      const colour = `rgb(${(properties.classification?.color ?? NO_CLASS).join()})`;
      const path = pathOf(geometry, 5 * pixel);
      const chosen = id === this.chosen;
      for (const [stroke, width] of [
        ['#ffffff', chosen ? 6 : 4],
        [colour, chosen ? 3.5 : 2],
      ] as const) {
        context.strokeStyle = stroke;
        context.lineWidth = width * pixel;
        context.stroke(path);
      }
      if (!chosen) continue;
      const corners = cornersOf(geometry);
      if (corners.length > 500) continue;
      for (const [x, y] of corners) {
        context.fillStyle = '#ffffff';
        context.fillRect(x! - 4 * pixel, y! - 4 * pixel, 8 * pixel, 8 * pixel);
        context.lineWidth = 1.5 * pixel;
        context.strokeStyle = '#000000';
        context.strokeRect(x! - 4 * pixel, y! - 4 * pixel, 8 * pixel, 8 * pixel);
      }
    }
  }
}

const NO_CLASS = [31, 95, 139] as const;

function colourOf(name: string): readonly [number, number, number] {
  const known = CLASSES.find(([one]) => one === name);
  if (known) return known[1];
  let hash = 0;
  for (const letter of name) hash = (Math.imul(hash, 31) + letter.codePointAt(0)!) >>> 0;
  return [hash & 0x9f, (hash >> 8) & 0x9f, (hash >> 16) & 0x9f];
}

function geometryOf(tool: Tool, points: Point[]): Geometry {
  if (tool === 'point') return { type: 'Point', coordinates: points[0]! };
  if (tool === 'ruler') return { type: 'LineString', coordinates: points };
  return { type: 'Polygon', coordinates: [[...points, points[0]!]] };
}

function lines(geometry: Geometry): Position[][] {
  if (geometry.type === 'Polygon') return geometry.coordinates;
  if (geometry.type === 'MultiPolygon') return geometry.coordinates.flat();
  if (geometry.type === 'LineString') return [geometry.coordinates];
  return [];
}

function points(geometry: Geometry): Position[] {
  if (geometry.type === 'Point') return [geometry.coordinates];
  return geometry.type === 'MultiPoint' ? geometry.coordinates : [];
}

/** Places that can be dragged; the last point of a ring is its first. */
function cornersOf(geometry: Geometry): Position[] {
  const closed = geometry.type === 'Polygon' || geometry.type === 'MultiPolygon';
  return [...points(geometry), ...lines(geometry).flatMap((line) => (closed ? line.slice(0, -1) : line))];
}

function withCorner(geometry: Geometry, corner: number, place: Position): Geometry {
  let next = 0;
  const take = (position: Position) => (next++ === corner ? place : position);
  const ring = (line: Position[]) => {
    const open = line.slice(0, -1).map(take);
    return [...open, open[0]!];
  };
  if (geometry.type === 'Point') return { ...geometry, coordinates: place };
  if (geometry.type === 'MultiPoint' || geometry.type === 'LineString') {
    return { ...geometry, coordinates: geometry.coordinates.map(take) };
  }
  if (geometry.type === 'Polygon') return { ...geometry, coordinates: geometry.coordinates.map(ring) };
  if (geometry.type === 'MultiPolygon') {
    return { ...geometry, coordinates: geometry.coordinates.map((rings) => rings.map(ring)) };
  }
  return geometry;
}

function pathOf(geometry: Geometry, radius: number): Path2D {
  const path = new Path2D();
  for (const line of lines(geometry)) {
    line.forEach(([x, y], i) => void (i === 0 ? path.moveTo(x!, y!) : path.lineTo(x!, y!)));
  }
  for (const [x, y] of points(geometry)) {
    path.moveTo(x! + radius, y!);
    path.arc(x!, y!, radius, 0, 2 * Math.PI);
  }
  return path;
}

/** Whether a place lies in an area, or near a line or a point. */
function touches(geometry: Geometry, [x, y]: Point, reach: number): boolean {
  if (points(geometry).some(([px, py]) => Math.hypot(px! - x, py! - y) < reach)) return true;
  let inside = false;
  for (const line of lines(geometry)) {
    for (let i = 1; i < line.length; i++) {
      const [ax, ay] = line[i - 1] as Point;
      const [bx, by] = line[i] as Point;
      if (nearSegment(x, y, ax, ay, bx, by) < reach) return true;
      if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
    }
  }
  return inside && geometry.type !== 'LineString';
}

function nearSegment(x: number, y: number, ax: number, ay: number, bx: number, by: number): number {
  const length2 = (bx - ax) ** 2 + (by - ay) ** 2;
  const along = length2 === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length2));
  return Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay));
}

/** Length of a line, area of a region; in pixels when nobody knows the scale. */
export function measureOf(geometry: Geometry, mpp: number | null): string {
  if (geometry.type === 'LineString') {
    let sum = 0;
    geometry.coordinates.forEach(([x, y], i, all) => {
      if (i > 0) sum += Math.hypot(x! - all[i - 1]![0]!, y! - all[i - 1]![1]!);
    });
    return mpp === null ? `${Math.round(sum)} px` : length(sum * mpp);
  }
  if (geometry.type !== 'Polygon') return '';
  const [ring = []] = geometry.coordinates;
  let twice = 0;
  for (let i = 1; i < ring.length; i++) twice += ring[i - 1]![0]! * ring[i]![1]! - ring[i]![0]! * ring[i - 1]![1]!;
  const area = Math.abs(twice) / 2;
  if (mpp === null) return `${Math.round(area).toLocaleString('en')} px²`;
  const um2 = area * mpp * mpp;
  return um2 >= 1e5 ? `${(um2 / 1e6).toPrecision(3)} mm²` : `${Math.round(um2).toLocaleString('en')} µm²`;
}
