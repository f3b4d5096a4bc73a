/** The tiles' loops over pixels in WebAssembly (`assembly/`), one instance a thread. */
import { readFileSync } from 'node:fs';
import { built } from '../../built.ts';

/** See `assembly/` for what each does. Addresses hold until `begin`; views of `memory.buffer` until the next call of anything. */
interface TileLoops {
  readonly memory: WebAssembly.Memory;
  /** Forgets all that was taken. */
  begin(): void;
  take(bytes: number): number;
  decodeJpeg(at: number, length: number, reduce: number): number;
  readonly pixels: WebAssembly.Global<'i32'>;
  readonly pixelsWidth: WebAssembly.Global<'i32'>;
  readonly pixelsHeight: WebAssembly.Global<'i32'>;
  readonly pixelsSamples: WebAssembly.Global<'i32'>;
  resampleArea(
    source: number,
    sourceWidth: number,
    sourceHeight: number,
    x: number,
    y: number,
    width: number,
    height: number,
    target: number,
    targetWidth: number,
    targetHeight: number,
    factors: number,
  ): void;
}

/** A large picture leaves large memory behind, which is not kept. */
const keptBytes = 64 * 1024 * 1024;

let compiled: WebAssembly.Module | undefined;
let instance: TileLoops | undefined;

/** This thread's, with nothing taken. What the last caller was given is no longer valid. */
export function tileLoops(): TileLoops {
  if (instance === undefined || instance.memory.buffer.byteLength > keptBytes) {
    compiled ??= new WebAssembly.Module(readFileSync(built('./tiles.wasm', import.meta.url)));
    instance = new WebAssembly.Instance(compiled).exports as unknown as TileLoops;
  }
  instance.begin();
  return instance;
}
