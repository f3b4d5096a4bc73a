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
  const firstRow = down.start[0]!;
  const rows = down.start[height - 1]! + down.taps - firstRow;
  const narrow = new Float32Array(rows * width * 3);
  for (let row = 0; row < rows; row++) {
    const line = Math.min(firstRow + row, sourceHeight - 1) * sourceWidth * 3;
    for (let column = 0, to = row * width * 3; column < width; column++, to += 3) {
      let red = 0;
      let green = 0;
      let blue = 0;
      let at = line + across.start[column]! * 3;
      for (let tap = column * across.taps, end = tap + across.taps; tap < end; tap++, at += 3) {
        const weight = across.weights[tap]!;
        red += weight * source[at]!;
        green += weight * source[at + 1]!;
        blue += weight * source[at + 2]!;
      }
      narrow[to] = red;
      narrow[to + 1] = green;
      narrow[to + 2] = blue;
    }
  }
  const stride = width * 3;
  for (let row = 0; row < height; row++) {
    const start = (down.start[row]! - firstRow) * stride;
    for (let i = 0, to = row * stride; i < stride; i++, to++) {
      let sum = 0.5;
      for (let tap = 0, at = start + i; tap < down.taps; tap++, at += stride) {
        sum += down.weights[row * down.taps + tap]! * narrow[at]!;
      }
      target[to] = sum;
    }
  }
}

/** Which source pixels each output pixel of one axis covers, and by how much: `taps` weights each, from `start`. */
interface Footprints {
  readonly taps: number;
  readonly start: Int32Array;
  readonly weights: Float32Array;
}

function footprints(origin: number, length: number, count: number, limit: number): Footprints {
  const step = length / count;
  const taps = Math.min(limit, Math.ceil(step - 1e-9) + 1);
  const start = new Int32Array(count);
  const weights = new Float32Array(count * taps);
  for (let i = 0; i < count; i++) {
    const from = origin + i * step;
    const to = from + step;
    // The window is moved back where it would leave the picture; the weights outside the footprint are 0.
    const first = Math.max(0, Math.min(Math.floor(from), limit - taps));
    start[i] = first;
    let sum = 0;
    for (let tap = 0; tap < taps; tap++) {
      const pixel = first + tap;
      const weight = Math.max(0, Math.min(to, pixel + 1) - Math.max(from, pixel));
      weights[i * taps + tap] = weight;
      sum += weight;
    }
    for (let tap = 0; tap < taps; tap++) weights[i * taps + tap] = weights[i * taps + tap]! / sum;
  }
  return { taps, start, weights };
}
