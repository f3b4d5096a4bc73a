/** The features' loops over pixels in WebAssembly (`assembly/`), each instance with memory of its own. */
import { readFileSync } from 'node:fs';
import { built } from '../../built.ts';

/** Addresses are `byteOffset`s of arrays taken from the same instance. See `assembly/` for what each does. */
export interface PixelLoops {
  unmix(rgb: number, density: number, matrix: number, n: number, h: number, e: number, r: number): void;
  planar(rgb: number, n: number, factors: number, out: number): void;
  restain(
    rgb: number,
    n: number,
    density: number,
    matrix: number,
    change: number,
    stains: number,
    keep: number,
    light: number,
    perDensity: number,
  ): void;
  halve(plane: number, width: number, height: number, half: number, sums: number): void;
  quantise(plane: number, n: number, low: number, scale: number, levels: number): void;
  histogram(levels: number, n: number, counts: number, scratch: number): void;
  shapes(levels: number, width: number, height: number, counts: number): void;
  patterns(levels: number, width: number, height: number, counts: number, line: number): void;
  gradients(plane: number, width: number, height: number, sums: number): void;
  products(a: number, b: number, n: number): number;
  total(plane: number, n: number): number;
  weigh(a: number, b: number, c: number, wa: number, wb: number, wc: number, n: number, target: number): void;
  cosines(
    features: number,
    half: number,
    count: number,
    dimension: number,
    wanted: number,
    length: number,
    out: number,
  ): void;
  within(h: number, e: number, r: number, n: number, threshold: number, sums: number): void;
}

/** Arrays in the memory that the loops see. They stay where they are until the whole is dropped. */
export interface PixelMemory {
  readonly loops: PixelLoops;
  f32(length: number): Float32Array;
  f64(length: number): Float64Array;
  u32(length: number): Uint32Array;
  u8(length: number): Uint8Array;
}

/** Loops of four and sixteen may read this far beyond the end of an array. */
const SLACK = 64;
const PAGE = 65536;

let compiled: WebAssembly.Module | undefined;

/** @param bytes of all arrays that will be taken; small ones beside the large ones need not be counted. */
export function openPixelLoops(bytes: number): PixelMemory {
  compiled ??= new WebAssembly.Module(readFileSync(built('./features.wasm', import.meta.url)));
  const pages = Math.ceil(bytes / PAGE) + 2;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: 65536 });
  const { exports } = new WebAssembly.Instance(compiled, { env: { memory, abort } });
  // The loops themselves keep nothing in memory.
  let end = 1024;
  const take = (length: number): number => {
    const start = end;
    end = Math.ceil((end + length + SLACK) / 16) * 16;
    if (end > memory.buffer.byteLength) throw new RangeError(`${end} bytes asked of ${memory.buffer.byteLength}`);
    return start;
  };
  return {
    loops: exports as unknown as PixelLoops,
    f32: (length) => new Float32Array(memory.buffer, take(4 * length), length),
    f64: (length) => new Float64Array(memory.buffer, take(8 * length), length),
    u32: (length) => new Uint32Array(memory.buffer, take(4 * length), length),
    u8: (length) => new Uint8Array(memory.buffer, take(length), length),
  };
}

function abort(): void {
  throw new Error('the pixel loops stopped');
}
