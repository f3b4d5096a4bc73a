/** A mask as polygons in level-0 pixels, in the form that QuPath reads and writes. */
import type { FeatureCollection, Polygon, Position } from 'geojson';
import type { Mask } from './morphology.ts';
import type { TissueMask } from './tissue.ts';

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
      if (!isSet(x, y)) continue;
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
    direction = [before + 1, before, before + 3].map((turn) => turn % 4).find((turn) => edges[here]! & (1 << turn))!;
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
