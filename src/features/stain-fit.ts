/**
 * The stains of a slide or a picture, from a sample of its pixels, by the three usual methods.
 *
 * Macenko et al., A method for normalizing histology slides for quantitative analysis, ISBI 2009. Vahadane et al.,
 * Structure-preserving color normalization and sparse stain separation, IEEE TMI 35 (2016): here as a sparse non-negative
 * factorisation with two stains, started from Macenko's. Reinhard et al., Color transfer between images, IEEE CG&A 21 (2001).
 *
 * Densities are decimal (`DENSITY` of stain-planes).
 */
import { toLab } from './lab-colour.ts';
import type { StainMatrix, StainTransform } from './stain.ts';
import { DENSITY } from './stain-planes.ts';

export const stainMethods = ['macenko', 'vahadane', 'reinhard'] as const;
export type StainMethod = (typeof stainMethods)[number];

type Three = readonly [number, number, number];

/** What a method finds, and what a target is. */
export type StainStatistics =
  /** The stains, haematoxylin first, and the amount of each that all but a hundredth of the pixels stay below. */
  | { readonly stains: StainMatrix; readonly amounts: readonly [number, number] }
  /** Mean and deviation of Ruderman's l, alpha and beta over the tissue. */
  | { readonly mean: Three; readonly deviation: Three };

/** Why a sample has no stains that could be told. */
export interface TooLittleStain {
  readonly reason: string;
}

/** Density from which a pixel is stained: Macenko's 0.15, there in natural logarithms. */
const STAINED = 0.15 / Math.LN10;
/** Stained pixels below which nothing is fitted, and the share of the sample. */
const FEWEST = 500;
const LEAST_SHARE = 0.005;
/** Mean density of the three colours that half the tissue of a brightfield slide stays far below: a sixteenth of the light. */
const DARK = 1.2;
/** Percentiles of the angle at which the stains lie, and of their amounts. */
const ANGLE = 0.01;
const MOST = 0.99;
/** Two stains that are nearer to each other than this are one (cosine). */
const SAME = Math.cos((5 * Math.PI) / 180);
/** Pixels that the factorisation looks at. */
const FACTORISED = 12_000;

/** @param rgb pixels, 3 bytes each; glass among them is left out. */
export function fitStains(method: StainMethod, rgb: Uint8Array): StainStatistics | TooLittleStain {
  const [tissue, deep] = [stainedPixels(rgb, 'mean'), stainedPixels(rgb, 'least')];
  const pixels = rgb.length / 3;
  if (deep.length < Math.max(FEWEST, LEAST_SHARE * pixels)) {
    return { reason: `${deep.length} of ${pixels} sampled pixels are stained` };
  }
  if (medianDensity(rgb, deep) > DARK) return { reason: 'its picture is dark, as fluorescence is' };
  if (method === 'reinhard') return labStatistics(rgb, tissue);
  // The hue of a pale pixel says little; how much stain there is, is a matter of all the tissue.
  const densities = densitiesOf(rgb, deep);
  const first = macenko(densities);
  if ('reason' in first) return first;
  const stains = method === 'vahadane' ? factorise(thinned(densities, FACTORISED), first.stains) : first.stains;
  if (cosine(stains) > SAME) return { reason: 'only one stain can be told' };
  return { stains, amounts: amountsOf(densitiesOf(rgb, tissue), unmixOf(stains)) };
}

/** From what a slide has to what the target has, both found by the same method. */
export function stainTransform(source: StainStatistics, target: StainStatistics): StainTransform {
  if ('stains' in source && 'stains' in target) {
    const scale = [target.amounts[0] / source.amounts[0], target.amounts[1] / source.amounts[1]] as const;
    return { kind: 'stains', unmix: unmixOf(source.stains), scale, stains: target.stains };
  }
  if ('mean' in source && 'mean' in target) {
    const scale = source.deviation.map((one, i) => target.deviation[i]! / Math.max(1e-6, one)) as unknown as Three;
    const shift = source.mean.map((one, i) => target.mean[i]! - one * scale[i]!) as unknown as Three;
    return { kind: 'lab', scale, shift };
  }
  throw new TypeError('the statistics of slide and target are of different methods');
}

/** Amounts of two stains from densities, by least squares: the pseudo-inverse of their matrix, a row each. */
export function unmixOf([a0, a1, a2, b0, b1, b2]: StainMatrix): StainMatrix {
  const aa = a0 * a0 + a1 * a1 + a2 * a2;
  const ab = a0 * b0 + a1 * b1 + a2 * b2;
  const bb = b0 * b0 + b1 * b1 + b2 * b2;
  const d = aa * bb - ab * ab;
  return [
    (bb * a0 - ab * b0) / d,
    (bb * a1 - ab * b1) / d,
    (bb * a2 - ab * b2) / d,
    (aa * b0 - ab * a0) / d,
    (aa * b1 - ab * a1) / d,
    (aa * b2 - ab * a2) / d,
  ];
}

/** Pixels whose mean or least density of the three colours is that of stain, and which are not black: that is ink or a shadow. */
function stainedPixels(rgb: Uint8Array, by: 'mean' | 'least'): Uint32Array {
  const found: number[] = [];
  for (let i = 0; i < rgb.length; i += 3) {
    const [r, g, b] = [rgb[i]!, rgb[i + 1]!, rgb[i + 2]!];
    const [dr, dg, db] = [DENSITY[r]!, DENSITY[g]!, DENSITY[b]!];
    const density = by === 'mean' ? (dr + dg + db) / 3 : Math.min(dr, dg, db);
    if (density > STAINED && r + g + b > 60) found.push(i / 3);
  }
  return Uint32Array.from(found);
}

/** Of the mean of the three colours. */
function medianDensity(rgb: Uint8Array, pixels: Uint32Array): number {
  const means = Float64Array.from(pixels, (pixel) => {
    const at = 3 * pixel;
    return (DENSITY[rgb[at]!]! + DENSITY[rgb[at + 1]!]! + DENSITY[rgb[at + 2]!]!) / 3;
  });
  return percentile(means.sort(), 0.5);
}

/** Three densities a pixel. */
function densitiesOf(rgb: Uint8Array, pixels: Uint32Array): Float64Array {
  const densities = new Float64Array(3 * pixels.length);
  pixels.forEach((pixel, i) => {
    for (let k = 0; k < 3; k++) densities[3 * i + k] = DENSITY[rgb[3 * pixel + k]!]!;
  });
  return densities;
}

/** Evenly spread pixels, at most `most`. */
function thinned(densities: Float64Array, most: number): Float64Array {
  const count = densities.length / 3;
  if (count <= most) return densities;
  const step = count / most;
  return Float64Array.from(
    { length: 3 * most },
    (_, i) => densities[3 * Math.floor(Math.floor(i / 3) * step) + (i % 3)]!,
  );
}

/** The extreme directions in the plane of the two largest principal components. */
function macenko(densities: Float64Array): { stains: StainMatrix } | TooLittleStain {
  const [first, second] = principalPlane(densities);
  const angles = new Float64Array(densities.length / 3);
  for (let i = 0; i < angles.length; i++) {
    const at = 3 * i;
    const along = (axis: Three) =>
      densities[at]! * axis[0] + densities[at + 1]! * axis[1] + densities[at + 2]! * axis[2];
    angles[i] = Math.atan2(along(second), along(first));
  }
  angles.sort();
  const direction = (angle: number) =>
    positive([0, 1, 2].map((k) => first[k]! * Math.cos(angle) + second[k]! * Math.sin(angle)) as unknown as Three);
  const [one, other] = [direction(percentile(angles, ANGLE)), direction(percentile(angles, 1 - ANGLE))];
  if (!one || !other) return { reason: 'the colours are not those of two stains' };
  return { stains: haematoxylinFirst(one, other) };
}

/** A stain takes light away, and none gives any: small negative parts are noise. */
function positive(vector: Three): Three | null {
  const cut = vector.map((value) => Math.max(0, value));
  const length = Math.hypot(...cut);
  return length < 0.5 ? null : (cut.map((value) => value / length) as unknown as Three);
}

/** Haematoxylin takes more of the red light than eosin does. */
function haematoxylinFirst(one: Three, other: Three): StainMatrix {
  return one[0] > other[0] ? [...one, ...other] : [...other, ...one];
}

/** The two eigenvectors of the covariance with the largest values, the first pointing to where densities are. */
function principalPlane(densities: Float64Array): [Three, Three] {
  const count = densities.length / 3;
  const mean = [0, 0, 0];
  for (let i = 0; i < densities.length; i++) mean[i % 3]! += densities[i]! / count;
  const m = [0, 0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < densities.length; i += 3) {
    for (let j = 0; j < 3; j++) {
      for (let k = 0; k < 3; k++) m[3 * j + k]! += (densities[i + j]! - mean[j]!) * (densities[i + k]! - mean[k]!);
    }
  }
  const { vectors } = eigen(m);
  const [first, second] = vectors as [Three, Three, Three];
  const sum = first[0] + first[1] + first[2];
  return [sum < 0 ? (first.map((value) => -value) as unknown as Three) : first, second];
}

/** Of a symmetric 3 x 3 matrix, by Jacobi's rotations; largest first. */
function eigen(matrix: readonly number[]): { vectors: Three[] } {
  const a = [...matrix];
  const v = [1, 0, 0, 0, 1, 0, 0, 0, 1];
  for (let sweep = 0; sweep < 30; sweep++) {
    for (const [p, q] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const off = a[3 * p + q]!;
      if (Math.abs(off) < 1e-300) continue;
      const theta = (a[4 * q]! - a[4 * p]!) / (2 * off);
      const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.hypot(theta, 1));
      const c = 1 / Math.hypot(t, 1);
      const s = t * c;
      for (let k = 0; k < 3; k++) {
        const [x, y] = [a[3 * k + p]!, a[3 * k + q]!];
        a[3 * k + p] = c * x - s * y;
        a[3 * k + q] = s * x + c * y;
      }
      for (let k = 0; k < 3; k++) {
        const [x, y] = [a[3 * p + k]!, a[3 * q + k]!];
        a[3 * p + k] = c * x - s * y;
        a[3 * q + k] = s * x + c * y;
        const [z, w] = [v[3 * k + p]!, v[3 * k + q]!];
        v[3 * k + p] = c * z - s * w;
        v[3 * k + q] = s * z + c * w;
      }
    }
  }
  const order = [0, 1, 2].sort((i, j) => a[4 * j]! - a[4 * i]!);
  return { vectors: order.map((i) => [v[i]!, v[3 + i]!, v[6 + i]!] as const) };
}

/** Weight of the amounts' sum against the squared error, of densities. */
const SPARSITY = 0.02;
const ROUNDS = 60;

/** min |D - A S|^2 + SPARSITY sum(A), A and S not negative, the rows of S of length 1, by turns. */
function factorise(densities: Float64Array, start: StainMatrix): StainMatrix {
  const count = densities.length / 3;
  const stains = [...start];
  for (let round = 0; round < ROUNDS; round++) {
    const [a, b] = [stains.slice(0, 3), stains.slice(3)] as [number[], number[]];
    const overlap = a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!;
    // Sums of the products of amounts with each other and with densities.
    const products = [0, 0, 0];
    const mixed = [0, 0, 0, 0, 0, 0];
    for (let i = 0; i < count; i++) {
      const [r, g, u] = [densities[3 * i]!, densities[3 * i + 1]!, densities[3 * i + 2]!];
      const onA = r * a[0]! + g * a[1]! + u * a[2]! - SPARSITY / 2;
      const onB = r * b[0]! + g * b[1]! + u * b[2]! - SPARSITY / 2;
      const [x, y] = nonNegative(onA, onB, overlap);
      products[0]! += x * x;
      products[1]! += x * y;
      products[2]! += y * y;
      mixed[0]! += x * r;
      mixed[1]! += x * g;
      mixed[2]! += x * u;
      mixed[3]! += y * r;
      mixed[4]! += y * g;
      mixed[5]! += y * u;
    }
    const [xx, xy, yy] = products as [number, number, number];
    if (xx < 1e-12 || yy < 1e-12) break;
    for (let k = 0; k < 3; k++) stains[k] = Math.max(0, (mixed[k]! - xy * stains[3 + k]!) / xx);
    for (let k = 0; k < 3; k++) stains[3 + k] = Math.max(0, (mixed[3 + k]! - xy * stains[k]!) / yy);
    for (const from of [0, 3]) {
      const length = Math.hypot(stains[from]!, stains[from + 1]!, stains[from + 2]!);
      for (let k = from; k < from + 3; k++) stains[k] = stains[k]! / length;
    }
  }
  return haematoxylinFirst(stains.slice(0, 3) as unknown as Three, stains.slice(3) as unknown as Three);
}

/** The minimum over x, y >= 0 of a quadratic whose gradient is (x + o y - p, o x + y - q). */
function nonNegative(p: number, q: number, o: number): [number, number] {
  const d = 1 - o * o;
  const [x, y] = d > 1e-12 ? [(p - o * q) / d, (q - o * p) / d] : [p, 0];
  if (x >= 0 && y >= 0) return [x, y];
  return x < 0 ? [0, Math.max(0, q)] : [Math.max(0, p), 0];
}

function cosine([a0, a1, a2, b0, b1, b2]: StainMatrix): number {
  return a0 * b0 + a1 * b1 + a2 * b2;
}

function amountsOf(densities: Float64Array, [a0, a1, a2, b0, b1, b2]: StainMatrix): [number, number] {
  const count = densities.length / 3;
  const [a, b] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < count; i++) {
    const [r, g, u] = [densities[3 * i]!, densities[3 * i + 1]!, densities[3 * i + 2]!];
    a[i] = r * a0 + g * a1 + u * a2;
    b[i] = r * b0 + g * b1 + u * b2;
  }
  const most = (values: Float64Array) => Math.max(1e-3, percentile(values.sort(), MOST));
  return [most(a), most(b)];
}

/** Of sorted values. */
function percentile(sorted: Float64Array, share: number): number {
  const at = share * (sorted.length - 1);
  const below = Math.floor(at);
  const [low, high] = [sorted[below]!, sorted[Math.min(sorted.length - 1, below + 1)]!];
  return low + (high - low) * (at - below);
}

function labStatistics(rgb: Uint8Array, pixels: Uint32Array): { mean: Three; deviation: Three } {
  const lab = new Float64Array(3);
  const [sums, squares] = [
    [0, 0, 0],
    [0, 0, 0],
  ];
  for (const pixel of pixels) {
    toLab(rgb, 3 * pixel, lab);
    for (let k = 0; k < 3; k++) {
      sums[k]! += lab[k]!;
      squares[k]! += lab[k]! ** 2;
    }
  }
  const n = pixels.length;
  const mean = sums.map((sum) => sum / n) as unknown as Three;
  const deviation = squares.map((sum, k) => Math.sqrt(Math.max(0, sum / n - mean[k]! ** 2))) as unknown as Three;
  return { mean, deviation };
}
