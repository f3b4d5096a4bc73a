/** `src/features/texture.ts` and the colours' loops on any arrays: copied in and, where they are results, out. */
import { DENSITY, UNMIX } from '../../src/features/stain-planes.ts';
import { createTexture, type Excursions, type Moments, type Texture } from '../../src/features/texture.ts';
import { openPixelLoops, type PixelMemory } from '../../src/features/wasm/open.ts';

function within<T>(run: (memory: PixelMemory, texture: Texture) => T): T {
  const memory = openPixelLoops(1 << 20);
  return run(memory, createTexture(memory, 4096));
}

function put(memory: PixelMemory, values: Float32Array): Float32Array;
function put(memory: PixelMemory, values: Uint8Array): Uint8Array;
function put(memory: PixelMemory, values: Float32Array | Uint8Array): Float32Array | Uint8Array {
  const place = values instanceof Uint8Array ? memory.u8(values.length) : memory.f32(values.length);
  place.set(values);
  return place;
}

export function halve(plane: Float32Array, width: number, height: number, half: Float32Array) {
  return within((memory, texture) => {
    const target = put(memory, half);
    const details = texture.halve(put(memory, plane), width, height, target);
    half.set(target);
    return details;
  });
}

export function quantise(plane: Float32Array, low: number, high: number, target: Uint8Array): void {
  within((memory, texture) => {
    const levels = put(memory, target);
    texture.quantise(put(memory, plane), low, high, levels);
    target.set(levels);
  });
}

export function excursions(levels: Uint8Array, width: number, height: number): Excursions {
  return within((memory, texture) => texture.excursions(put(memory, levels), width, height));
}

export function areas(levels: Uint8Array): Float64Array {
  return within((memory, texture) => texture.areas(put(memory, levels)));
}

export function localPatterns(levels: Uint8Array, width: number, height: number): Float64Array {
  return within((memory, texture) => texture.localPatterns(put(memory, levels), width, height));
}

export function coherence(plane: Float32Array, width: number, height: number) {
  return within((memory, texture) => texture.coherence(put(memory, plane), width, height));
}

export function moments(plane: Float32Array): Moments {
  return within((memory, texture) => texture.moments(put(memory, plane)));
}

export function correlation(a: Float32Array, b: Float32Array, ofA: Moments, ofB: Moments): number {
  return within((memory, texture) => texture.correlation(put(memory, a), put(memory, b), ofA, ofB));
}

export function unmix(
  rgb: Uint8Array,
  offset: number,
  planes: readonly [Float32Array, Float32Array, Float32Array],
): void {
  within((memory) => {
    const n = planes[0].length;
    const picture = put(memory, rgb.subarray(offset, offset + 3 * n));
    const [density, matrix] = [put(memory, DENSITY), put(memory, Float32Array.from(UNMIX.flat()))];
    const [h, e, r] = planes.map((plane) => put(memory, plane)) as [Float32Array, Float32Array, Float32Array];
    const at = ({ byteOffset }: { byteOffset: number }) => byteOffset;
    memory.loops.unmix(at(picture), at(density), at(matrix), n, at(h), at(e), at(r));
    [h, e, r].forEach((plane, i) => void planes[i]!.set(plane));
  });
}
