/** Area-correct resampling: every output pixel is the mean of exactly the area it covers. No snapping to a level or a step. */

/** A decoded tile in shared memory and where its top-left corner lies, in pixels of its level. */
export interface PlacedTile {
  readonly memory: SharedArrayBuffer;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Cuts a rectangle out of decoded tiles and resamples it to `size` x `size` RGB; what no tile covers is white. */
export interface ResampleTask {
  readonly kind: 'resample';
  readonly tiles: readonly PlacedTile[];
  /** The rectangle in pixels of the tiles' level; fractions count. Not quite square where a level's axes differ by rounding. */
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly size: number;
  readonly into: SharedArrayBuffer;
  readonly offset: number;
}

export function resamplePatch(task: ResampleTask): void {
  const { x, y, size } = task;
  const left = Math.floor(x + 1e-3);
  const top = Math.floor(y + 1e-3);
  const width = Math.ceil(x + task.width - 1e-3) - left;
  const height = Math.ceil(y + task.height - 1e-3) - top;
  const target = new Uint8Array(task.into, task.offset, size * size * 3);
  const exact = near(task.width, size) && near(task.height, size) && near(x, left) && near(y, top);
  const cut = exact ? target : new Uint8Array(width * height * 3);
  cut.fill(255);
  for (const tile of task.tiles) paste(tile, cut, left, top, width, height);
  if (exact) return;
  resampleArea(
    cut,
    width,
    height,
    { x: x - left, y: y - top, width: task.width, height: task.height },
    target,
    size,
    size,
  );
}

/** Equal but for rounding: over a whole patch the difference is under a thousandth of a pixel. */
function near(a: number, b: number): boolean {
  return Math.abs(a - b) < 1e-3;
}

function paste(tile: PlacedTile, cut: Uint8Array, left: number, top: number, width: number, height: number): void {
  const pixels = new Uint8Array(tile.memory);
  const from = Math.max(left, tile.x);
  const to = Math.min(left + width, tile.x + tile.width);
  if (to <= from) return;
  for (let row = Math.max(top, tile.y); row < Math.min(top + height, tile.y + tile.height); row++) {
    const start = ((row - tile.y) * tile.width + from - tile.x) * 3;
    cut.set(pixels.subarray(start, start + (to - from) * 3), ((row - top) * width + from - left) * 3);
  }
}

export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/**
 * Resamples a rectangle (fractions count) of an RGB picture; one axis after the other, because a pixel's area is a product.
 * Enlarging spreads each pixel over the area it covers.
 */
export function resampleArea(
  source: Uint8Array,
  sourceWidth: number,
  sourceHeight: number,
  rectangle: Rectangle,
  target: Uint8Array,
  width: number,
  height: number,
): void {
  const across = footprints(rectangle.x, rectangle.width, width, sourceWidth);
  const down = footprints(rectangle.y, rectangle.height, height, sourceHeight);
  const line = new Float32Array(sourceWidth * 3);
  for (let row = 0; row < height; row++) {
    meanOfRows(source, down, row, line);
    meansAlong(line, across, target, row * width * 3, width);
  }
}

/** Which source pixels each output pixel of one axis covers, `counts[i]` of them from `starts[i]`, and by how much: `taps` places each. */
interface Footprints {
  readonly taps: number;
  readonly starts: Int32Array;
  readonly counts: Int32Array;
  readonly weights: Float32Array;
}

function footprints(origin: number, length: number, count: number, limit: number): Footprints {
  const step = length / count;
  const taps = Math.ceil(step) + 2;
  const starts = new Int32Array(count);
  const counts = new Int32Array(count);
  const weights = new Float32Array(count * taps);
  for (let i = 0; i < count; i++) {
    const from = origin + i * step;
    const to = from + step;
    const first = Math.min(Math.floor(from), limit - 1);
    // A sliver thinner than rounding is not a pixel; the last pixel stands for what would lie beyond the picture.
    const last = Math.max(first, Math.min(Math.ceil(to - 1e-6), limit) - 1);
    starts[i] = first;
    counts[i] = last - first + 1;
    let sum = 0;
    for (let pixel = first; pixel <= last; pixel++) {
      const weight = Math.max(1e-9, Math.min(to, pixel + 1) - Math.max(from, pixel));
      weights[i * taps + pixel - first] = weight;
      sum += weight;
    }
    for (let tap = i * taps; tap < i * taps + counts[i]!; tap++) weights[tap] = weights[tap]! / sum;
  }
  return { taps, starts, counts, weights };
}

/** The rows that output row `row` covers, as one: `line` gets their weighted mean. */
function meanOfRows(
  source: Uint8Array,
  { taps, starts, counts, weights }: Footprints,
  row: number,
  line: Float32Array,
): void {
  const stride = line.length;
  const from = starts[row]! * stride;
  const count = counts[row]!;
  const first = weights[row * taps]!;
  if (count === 1) {
    for (let i = 0; i < stride; i++) line[i] = source[from + i]!;
    return;
  }
  // Two at once: near the slide's own scale, that is all there are.
  const second = weights[row * taps + 1]!;
  const next = from + stride;
  for (let i = 0; i < stride; i++) line[i] = first * source[from + i]! + second * source[next + i]!;
  for (let tap = 2; tap < count; tap++) {
    const weight = weights[row * taps + tap]!;
    const at = from + tap * stride;
    for (let i = 0; i < stride; i++) line[i] = line[i]! + weight * source[at + i]!;
  }
}

/** One row of RGB, reduced along itself, written to `target` from `to`. */
function meansAlong(
  line: Float32Array,
  { taps, starts, counts, weights }: Footprints,
  target: Uint8Array,
  to: number,
  width: number,
): void {
  for (let column = 0, into = to; column < width; column++, into += 3) {
    // Half a grey level, so that cutting off the fraction rounds.
    let red = 0.5;
    let green = 0.5;
    let blue = 0.5;
    let at = starts[column]! * 3;
    for (let tap = column * taps, end = tap + counts[column]!; tap < end; tap++, at += 3) {
      const weight = weights[tap]!;
      red += weight * line[at]!;
      green += weight * line[at + 1]!;
      blue += weight * line[at + 2]!;
    }
    target[into] = red;
    target[into + 1] = green;
    target[into + 2] = blue;
  }
}
