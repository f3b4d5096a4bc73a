/** A mask as polygons in level-0 pixels and back, in the form that QuPath reads and writes. */
import { readFile, stat } from 'node:fs/promises';
import type { FeatureCollection, Polygon, Position } from 'geojson';
import { messageOf, UserError } from '../errors.ts';
import type { Mask } from './morphology.ts';
import type { Slide } from './slide.ts';
import { maskPixelUm2, maskScale, type TissueMask, tissueMask } from './tissue.ts';

/** What QuPath keeps with an annotation. */
export interface AnnotationProperties {
  readonly objectType: 'annotation';
  readonly classification: { readonly name: string; readonly color: readonly [number, number, number] };
}

/**
 * One annotation per connected piece of tissue, holes kept, outlines simplified to within a pixel of the mask.
 *
 * @param slide size of level 0: the last pixels of the mask may hang over it, the polygons do not.
 */
export function toGeoJson(
  mask: TissueMask,
  slide: { width: number; height: number },
): FeatureCollection<Polygon, AnnotationProperties> {
  const scale = mask.level0PerPixel;
  const toLevel0 = (ring: Ring): Position[] =>
    simplify(ring, 1).map(([x, y]) => [
      Math.min(slide.width, Math.round(x * scale)),
      Math.min(slide.height, Math.round(y * scale)),
    ]);
  return {
    type: 'FeatureCollection',
    features: outlines(mask).map((rings) => ({
      type: 'Feature',
      geometry: { type: 'Polygon', coordinates: rings.map(toLevel0) },
      properties: { objectType: 'annotation', classification: { name: 'Tissue', color: [0, 160, 90] } },
    })),
  };
}

/**
 * Reads polygons, drawn or edited by hand, as the mask of a slide: of the size and place of the one that `readTissue` gives.
 * What is not an area (points, lines) is passed over.
 *
 * @throws UserError `missing-file`, or `bad-geojson` if the file is none or holds no area on the slide.
 */
export async function readGeoJson(
  path: string,
  slide: Pick<Slide, 'levels' | 'scale' | 'source'>,
): Promise<TissueMask> {
  const { size } = await stat(path).catch((cause) => {
    throw new UserError('missing-file', `${path} cannot be read: ${messageOf(cause)}.`, 'Check the path.', { cause });
  });
  if (size > maxFileBytes) {
    const problem = `${path} has ${Math.round(size / 1e6)} MB, more than any areas of a slide need (${maxFileBytes / 1e6}).`;
    throw new UserError('bad-geojson', problem, 'Simplify its outlines, or export the areas without the cells.');
  }
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw new UserError('missing-file', `${path} cannot be read: ${messageOf(cause)}.`, 'Check the path.', { cause });
  });
  let polygons: Position[][][];
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\uFEFF/, ''));
    polygons = polygonsOf(value, 0);
  } catch (cause) {
    throw new UserError(
      'bad-geojson',
      `${path} is no GeoJSON: ${messageOf(cause)}.`,
      'Export the areas from QuPath as GeoJSON.',
      { cause },
    );
  }
  if (countCrossings(polygons, slide) > maxCrossings) {
    const problem = `${path} has outlines too intricate to fill (${polygons.length} areas).`;
    throw new UserError('bad-geojson', problem, 'Simplify its outlines.');
  }
  const mask = maskOfPolygons(polygons, slide);
  if (!mask.data.includes(1) && !isEmptyCollection(value)) {
    throw new UserError(
      'bad-geojson',
      `${path} has no area on ${slide.source} (${slide.levels[0]!.width} x ${slide.levels[0]!.height} pixels).`,
      'Check that it belongs to this slide and is in pixels of full resolution.',
    );
  }
  return mask;
}

/** Read whole, so it must not be endless. */
const maxFileBytes = 256e6;
/** Some seconds and a few hundred MB; a million corners around tissue make two million. */
const maxCrossings = 20e6;

/** How often outlines cross the rows of the slide's mask. */
function countCrossings(polygons: readonly Position[][][], slide: Pick<Slide, 'levels' | 'scale'>): number {
  const scale = maskScale(slide);
  const rows = slide.levels[0]!.height / scale;
  const row = (y: number) => Math.min(rows, Math.max(0, y / scale));
  let count = 0;
  for (const ring of polygons.flat()) {
    for (let i = 0; i < ring.length; i++) count += Math.abs(row(ring[i]![1]!) - row(ring[(i + 1) % ring.length]![1]!));
  }
  return count;
}

/** Says that there is no tissue, as `toGeoJson` does of an empty mask. */
function isEmptyCollection(value: unknown): boolean {
  const { type, features } = value as Record<string, unknown>;
  return type === 'FeatureCollection' && Array.isArray(features) && features.length === 0;
}

/** The pixels whose middle lies inside one of the polygons. */
export function maskOfPolygons(polygons: readonly Position[][][], slide: Pick<Slide, 'levels' | 'scale'>): TissueMask {
  const scale = maskScale(slide);
  const width = Math.ceil(slide.levels[0]!.width / scale);
  const height = Math.ceil(slide.levels[0]!.height / scale);
  const data = new Uint8Array(width * height);
  for (const rings of polygons) fillPolygon(rings, scale, { width, height, data });
  return tissueMask({ width, height, data }, scale, maskPixelUm2(slide));
}

/** Row by row, between every second crossing of a line through the pixels' middles. */
function fillPolygon(rings: readonly Position[][], scale: number, { width, height, data }: Mask): void {
  const crossings = new Map<number, number[]>();
  for (const ring of rings) {
    for (let i = 0; i < ring.length; i++) {
      const [ax, ay] = ring[i]!.map((value) => value / scale) as [number, number];
      const [bx, by] = ring[(i + 1) % ring.length]!.map((value) => value / scale) as [number, number];
      const last = Math.min(height - 1, Math.ceil(Math.max(ay, by) - 0.5) - 1);
      for (let row = Math.max(0, Math.ceil(Math.min(ay, by) - 0.5)); row <= last; row++) {
        const x = ax + ((row + 0.5 - ay) / (by - ay)) * (bx - ax);
        const found = crossings.get(row);
        if (found) found.push(x);
        else crossings.set(row, [x]);
      }
    }
  }
  for (const [row, xs] of crossings) {
    xs.sort((a, b) => a - b);
    for (let i = 0; i + 1 < xs.length; i += 2) {
      const from = Math.max(0, Math.ceil(xs[i]! - 0.5));
      const to = Math.min(width, Math.ceil(xs[i + 1]! - 0.5));
      if (to > from) data.fill(1, row * width + from, row * width + to);
    }
  }
}

const maxDepth = 32;

/** The polygons of a collection, a feature, a geometry, or a list of them. */
function polygonsOf(value: unknown, depth: number): Position[][][] {
  if (depth > maxDepth) throw new Error('it is nested too deeply');
  if (Array.isArray(value)) return value.flatMap((one) => polygonsOf(one, depth + 1));
  if (typeof value !== 'object' || value === null) throw new Error('it holds something else than features');
  const { type, features, geometry, geometries, coordinates } = value as Record<string, unknown>;
  switch (type) {
    case 'FeatureCollection':
      return polygonsOf(features, depth + 1);
    case 'Feature':
      return geometry === null ? [] : polygonsOf(geometry, depth + 1);
    case 'GeometryCollection':
      return polygonsOf(geometries, depth + 1);
    case 'Polygon':
      return [checkedRings(coordinates)];
    case 'MultiPolygon':
      if (!Array.isArray(coordinates)) throw new Error('a polygon has no coordinates');
      return coordinates.map(checkedRings);
    case 'Point':
    case 'MultiPoint':
    case 'LineString':
    case 'MultiLineString':
      return [];
    default:
      throw new Error(`it holds a "${type}"`);
  }
}

function checkedRings(value: unknown): Position[][] {
  const isPosition = (one: unknown) => Array.isArray(one) && one.length >= 2 && one.every(Number.isFinite);
  const isRing = (one: unknown) => Array.isArray(one) && one.length >= 3 && one.every(isPosition);
  if (!Array.isArray(value) || !value.every(isRing)) throw new Error('a polygon has damaged coordinates');
  return value;
}

/** A closed line along pixel edges: the last point is the first. */
type Ring = [number, number][];

/** East, south, west, north: a right turn adds one. */
const steps = [
  [1, 0],
  [0, 1],
  [-1, 0],
  [0, -1],
] as const;

/** Per connected piece its outer ring, then its holes; in pixels of the mask. */
export function outlines(mask: Mask): Ring[][] {
  const rings = traceRings(mask).map((ring) => ({ ring, area: signedArea(ring) }));
  const pieces = rings.filter(({ area }) => area > 0).map(({ ring, area }) => ({ area, rings: [ring] }));
  pieces.sort((a, b) => a.area - b.area);
  for (const { ring, area } of rings) {
    if (area > 0) continue;
    // The smallest piece around a hole is the one it is a hole of. The middle of its first edge is on no other ring.
    const [ax, ay] = ring[0]!;
    const [bx, by] = ring[1]!;
    pieces.find((piece) => contains(piece.rings[0]!, (ax + bx) / 2, (ay + by) / 2))?.rings.push(ring);
  }
  return pieces.reverse().map((piece) => piece.rings);
}

/** Follows the edges between set and unset pixels with the set ones on the right: outer rings run clockwise, holes the other way. */
function traceRings({ width, height, data }: Mask): Ring[] {
  const isSet = (x: number, y: number) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 1;
  const stride = width + 1;
  /** Per corner, one bit per direction in which an edge leaves it. */
  const edges = new Uint8Array(stride * (height + 1));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (data[y * width + x] !== 1) continue;
      const corner = y * stride + x;
      if (!isSet(x, y - 1)) edges[corner]! |= 1;
      if (!isSet(x + 1, y)) edges[corner + 1]! |= 2;
      if (!isSet(x, y + 1)) edges[corner + stride + 1]! |= 4;
      if (!isSet(x - 1, y)) edges[corner + stride]! |= 8;
    }
  }
  const rings: Ring[] = [];
  for (let corner = 0; corner < edges.length; corner++) {
    while (edges[corner]) rings.push(followRing(edges, stride, corner));
  }
  return rings;
}

/** Takes one ring out of the edges. Where two pieces touch at a corner it turns right and so stays with its own. */
function followRing(edges: Uint8Array, stride: number, start: number): Ring {
  let x = start % stride;
  let y = Math.floor(start / stride);
  let direction = 31 - Math.clz32(edges[start]! & -edges[start]!);
  const ring: Ring = [[x, y]];
  for (;;) {
    edges[y * stride + x]! &= ~(1 << direction);
    x += steps[direction]![0];
    y += steps[direction]![1];
    const here = y * stride + x;
    if (here === start) break;
    const before = direction;
    direction = (before + 1) % 4;
    while (!(edges[here]! & (1 << direction))) direction = (direction + 3) % 4;
    if (direction !== before) ring.push([x, y]);
  }
  ring.push(ring[0]!);
  return ring;
}

/** Positive if the ring runs clockwise on the screen. */
function signedArea(ring: Ring): number {
  let sum = 0;
  for (let i = 1; i < ring.length; i++) sum += ring[i - 1]![0] * ring[i]![1] - ring[i]![0] * ring[i - 1]![1];
  return sum / 2;
}

/** Whether a line from the point to the right crosses the ring an odd number of times. */
function contains(ring: Ring, x: number, y: number): boolean {
  let inside = false;
  for (let i = 1; i < ring.length; i++) {
    const [ax, ay] = ring[i - 1]!;
    const [bx, by] = ring[i]!;
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  }
  return inside;
}

/** Douglas-Peucker on a closed ring: fewer points, none of the old ones further than `tolerance` from the new line. */
function simplify(ring: Ring, tolerance: number): Ring {
  if (ring.length <= 5) return ring;
  // A closed line has no ends to start from: cut it at the point furthest from the first.
  let far = 0;
  let farthest = -1;
  ring.forEach(([x, y], i) => {
    const distance = (x - ring[0]![0]) ** 2 + (y - ring[0]![1]) ** 2;
    if (distance > farthest) [far, farthest] = [i, distance];
  });
  const keep = new Uint8Array(ring.length);
  keep[0] = keep[far] = keep[ring.length - 1] = 1;
  const spans: [number, number][] = [
    [0, far],
    [far, ring.length - 1],
  ];
  for (let span = spans.pop(); span; span = spans.pop()) {
    const [first, last] = span;
    let worst = -1;
    let worstDistance = tolerance;
    for (let i = first + 1; i < last; i++) {
      const distance = distanceToSegment(ring[i]!, ring[first]!, ring[last]!);
      if (distance > worstDistance) [worst, worstDistance] = [i, distance];
    }
    if (worst < 0) continue;
    keep[worst] = 1;
    spans.push([first, worst], [worst, last]);
  }
  const simple = ring.filter((_, i) => keep[i]);
  // Three corners at least, and back to the first.
  return simple.length >= 4 ? simple : ring;
}

function distanceToSegment([x, y]: [number, number], [ax, ay]: [number, number], [bx, by]: [number, number]): number {
  const length2 = (bx - ax) ** 2 + (by - ay) ** 2;
  const along = length2 === 0 ? 0 : Math.max(0, Math.min(1, ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length2));
  return Math.hypot(x - ax - along * (bx - ax), y - ay - along * (by - ay));
}
