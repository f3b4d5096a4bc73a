/** IEEE 754 half precision (f16) in Uint16Arrays: Node 20 has no Float16Array. */

const word = new Uint32Array(1);
const real = new Float32Array(word.buffer);

/** Rounds f32 values to the nearest f16, ties to even; from 65520 on they become infinite, as IEEE 754 says. NaN has one form. */
export function toHalf(source: Float32Array, target: Uint16Array): void {
  for (let i = 0; i < source.length; i++) {
    real[0] = source[i]!;
    let sign = (word[0]! >>> 16) & 0x8000;
    const magnitude = word[0]! & 0x7fffffff;
    let half: number;
    if (magnitude > 0x7f800000) {
      sign = 0;
      half = 0x7e00;
    } else if (magnitude >= 0x477ff000) {
      half = 0x7c00;
    } else if (magnitude >= 0x38800000) {
      half = (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13;
    } else {
      // Subnormal: the f32 unit of 0.5..1 is the smallest f16, so that adding 0.5 rounds as wanted.
      real[0] = Math.abs(source[i]!) + 0.5;
      half = word[0]! - 0x3f000000;
    }
    target[i] = sign | half;
  }
}

let values: Float32Array | undefined;

/** Widens f16 to f32, exactly. */
export function fromHalf(source: Uint16Array, target: Float32Array): void {
  values ??= Float32Array.from({ length: 65536 }, (_, half) => halfValue(half));
  for (let i = 0; i < source.length; i++) target[i] = values[source[i]!]!;
}

function halfValue(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent === 0 ? sign * fraction * 2 ** -24 : sign * (1024 + fraction) * 2 ** (exponent - 25);
}

export function widenHalf(half: Uint16Array): Float32Array {
  const wide = new Float32Array(half.length);
  fromHalf(half, wide);
  return wide;
}

/** bfloat16 is the upper half of an f32. */
export function widenBrain(brain: Uint16Array): Float32Array {
  const bits = Uint32Array.from(brain, (word) => word << 16);
  return new Float32Array(bits.buffer);
}
