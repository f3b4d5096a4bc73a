/** Area-correct resampling: every output pixel is the mean of exactly the area it covers. No snapping to a level or a step. */
import { tileLoops } from './wasm/open.ts';

/** A decoded tile in shared memory and where its top-left corner lies, in pixels of its level. */
export interface PlacedTile {
  readonly memory: SharedArrayBuffer;
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Per channel, of values in 0..1: a pixel becomes (value - mean) / std. */
export interface Normalisation {
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
}

/** A rectangle in pixels; fractions count. */
export interface Rectangle {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** Cuts rectangles out of decoded tiles and resamples each to `size` x `size`; what no tile covers is white. */
export interface CutTask {
  readonly kind: 'cut';
  /** In pixels of the tiles' level; not quite square where a level's axes differ by rounding. */
  readonly cuts: readonly { readonly rectangle: Rectangle; readonly tiles: readonly PlacedTile[] }[];
  readonly size: number;
  /** Null: bytes, RGB after RGB. Else normalised floats, plane after plane. */
  readonly normalise: Normalisation | null;
  /** Where they go, one patch after the other. */
  readonly memory: SharedArrayBuffer;
}

export function cutPatches({ cuts, size, normalise, memory }: CutTask): void {
  const bytes = size * size * 3 * (normalise ? 4 : 1);
  cuts.forEach(({ rectangle, tiles }, i) => {
    cutPatch(rectangle, tiles, size, normalise, new Uint8Array(memory, i * bytes, bytes));
  });
}

function cutPatch(
  { x, y, width, height }: Rectangle,
  tiles: readonly PlacedTile[],
  size: number,
  normalise: Normalisation | null,
  target: Uint8Array,
): void {
  const left = Math.floor(x + 1e-3);
  const top = Math.floor(y + 1e-3);
  const columns = Math.ceil(x + width - 1e-3) - left;
  const rows = Math.ceil(y + height - 1e-3) - top;
  const exact = near(width, size) && near(height, size) && near(x, left) && near(y, top);
  if (exact && !normalise) {
    pasteAll(tiles, target, left, top, columns, rows);
    return;
  }
  const loops = tileLoops();
  const source = loops.take(columns * rows * 3);
  const to = loops.take(target.length);
  const factors = normalise ? loops.take(32) : 0;
  if (normalise) new Float32Array(loops.memory.buffer, factors, 8).set(factorsOf(normalise));
  pasteAll(tiles, new Uint8Array(loops.memory.buffer, source, columns * rows * 3), left, top, columns, rows);
  const [fromX, fromY] = exact ? [0, 0] : [x - left, y - top];
  const [across, down] = exact ? [size, size] : [width, height];
  loops.resampleArea(source, columns, rows, fromX, fromY, across, down, to, size, size, factors);
  target.set(new Uint8Array(loops.memory.buffer, to, target.length));
}

/** Four factors and four addends of the bytes of a pixel, the fourth of each unused. */
function factorsOf({ mean, std }: Normalisation): number[] {
  return [...std.map((deviation) => 1 / 255 / deviation), 0, ...mean.map((value, i) => -value / std[i]!), 0];
}

/** Equal but for rounding: over a whole patch the difference is under a thousandth of a pixel. */
function near(a: number, b: number): boolean {
  return Math.abs(a - b) < 1e-3;
}

function pasteAll(
  tiles: readonly PlacedTile[],
  cut: Uint8Array,
  left: number,
  top: number,
  width: number,
  height: number,
): void {
  const covered = tiles.some(
    (tile) =>
      tile.x <= left && tile.y <= top && tile.x + tile.width >= left + width && tile.y + tile.height >= top + height,
  );
  if (!covered) cut.fill(255);
  for (const tile of tiles) paste(tile, cut, left, top, width, height);
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

/** Resamples a rectangle of an RGB picture to `width` x `height` pixels. Enlarging spreads each pixel over the area it covers. */
export function resampleArea(
  source: Uint8Array,
  sourceWidth: number,
  sourceHeight: number,
  { x, y, width: across, height: down }: Rectangle,
  target: Uint8Array,
  width: number,
  height: number,
): void {
  const loops = tileLoops();
  const from = loops.take(sourceWidth * sourceHeight * 3);
  const to = loops.take(width * height * 3);
  new Uint8Array(loops.memory.buffer).set(source.subarray(0, sourceWidth * sourceHeight * 3), from);
  loops.resampleArea(from, sourceWidth, sourceHeight, x, y, across, down, to, width, height, 0);
  target.set(new Uint8Array(loops.memory.buffer, to, width * height * 3));
}
