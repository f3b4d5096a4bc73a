/**
 * Normalisation and augmentation of stains as part of an encoder: what is asked for once for all slides (method, target), and
 * what is fitted slide by slide. It is part of the encoder's id, so that bags of other colours do not mix.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { createRandom, integer } from '../random.ts';
import { type PatchGrid, sliceGrid } from '../tiling/grid.ts';
import { openSlide } from '../tiling/open-slide.ts';
import { readOverview } from '../tiling/overview.ts';
import { patches } from '../tiling/patches.ts';
import type { Slide } from '../tiling/slide.ts';
import type { Encoder, PatchBatch } from './encoder.ts';
import type { Recolouring, StainAugmentation, StainTransform } from './stain.ts';
import { fitStains, type StainMethod, type StainStatistics, stainMethods, stainTransform } from './stain-fit.ts';

/** What is done to the colours of every slide. */
export interface StainPlan {
  /** Null: no normalisation. */
  readonly normalisation: { readonly method: StainMethod; readonly target: StainStatistics } | null;
  readonly augmentation: StainAugmentation | null;
}

export interface StainChoice {
  readonly method: StainMethod | 'none';
  /** A picture, or JSON as `lamina encoders --stain-of` prints it; null takes the published target, which Reinhard has none of. */
  readonly target: string | null;
  /** Null: no augmentation. */
  readonly augmentSeed: number | null;
}

/** Half of the changes that a slide of another laboratory shows. */
const STRENGTH = 0.2;

/**
 * The target of Macenko's programs: stains and amounts of a well-stained slide; there in natural logarithms.
 */
const PUBLISHED: StainStatistics = {
  stains: [0.5626, 0.7201, 0.4062, 0.2159, 0.8012, 0.5581],
  amounts: [1.9705 / Math.LN10, 1.0308 / Math.LN10],
};

/** @returns null if nothing is to be done. @throws UserError `bad-stain-target` */
export async function planStain({ method, target, augmentSeed }: StainChoice): Promise<StainPlan | null> {
  if (method === 'none' && target !== null) {
    throw new UserError(
      'bad-stain-target',
      `--stain-target ${target} is given without a method.`,
      'Add --stain macenko.',
    );
  }
  if (method === 'none' && augmentSeed === null) return null;
  return {
    normalisation: method === 'none' ? null : { method, target: await readTarget(method, target) },
    augmentation: augmentSeed === null ? null : { seed: augmentSeed, strength: STRENGTH },
  };
}

/** The statistics of a picture by a method, to be kept as a target. @throws UserError `bad-stain-target` */
export async function stainsOfPicture(method: StainMethod, path: string): Promise<StainStatistics> {
  const slide = await openSlide(path);
  try {
    const level0 = slide.levels[0]!;
    const perPixel = Math.max(1, Math.max(level0.width, level0.height) / 2048);
    const { data, width, height } = await readOverview(slide, perPixel);
    const found = fitStains(method, new Uint8Array(data.buffer, data.byteOffset, width * height * 3));
    if (!('reason' in found)) return found;
    throw badTarget(path, `it is not stained enough: ${found.reason}`);
  } finally {
    await slide.close();
  }
}

async function readTarget(method: StainMethod, path: string | null): Promise<StainStatistics> {
  if (path === null) {
    if (method !== 'reinhard') return PUBLISHED;
    const problem = 'Reinhard normalisation has no published target.';
    throw new UserError('bad-stain-target', problem, 'Give a picture of the colours you want with --stain-target.');
  }
  if (!path.endsWith('.json')) return await stainsOfPicture(method, path);
  const text = await readFile(path, 'utf8').catch((cause) => {
    throw badTarget(path, `it cannot be read (${cause.code})`);
  });
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw badTarget(path, 'it is not JSON');
  }
  return checkedTarget(method, path, given);
}

function checkedTarget(method: StainMethod, path: string, given: unknown): StainStatistics {
  const numbers = (value: unknown, length: number): value is never =>
    Array.isArray(value) &&
    value.length === length &&
    value.every((one) => typeof one === 'number' && Number.isFinite(one));
  const { stains, amounts, mean, deviation } = (given ?? {}) as Record<string, unknown>;
  if (method === 'reinhard') {
    if (numbers(mean, 3) && numbers(deviation, 3)) return { mean, deviation };
    throw badTarget(path, 'it has no mean and deviation of three numbers each, which reinhard needs');
  }
  if (!numbers(stains, 6) || !numbers(amounts, 2)) {
    throw badTarget(path, `it has no six numbers of stains and two of amounts, which ${method} needs`);
  }
  const [a, b] = [(stains as number[]).slice(0, 3), (stains as number[]).slice(3)];
  const isUnit = (vector: number[]) => Math.abs(Math.hypot(...vector) - 1) < 0.01 && vector.every((one) => one >= 0);
  if (!isUnit(a) || !isUnit(b) || !(amounts as number[]).every((one) => one > 0)) {
    throw badTarget(path, 'its stains are not of length 1, or an amount is not above 0');
  }
  return { stains, amounts };
}

function badTarget(path: string, what: string): UserError {
  const hint = 'Give a picture of stained tissue, or the numbers that `lamina encoders --stain-of PICTURE` prints.';
  return new UserError('bad-stain-target', `--stain-target ${path}: ${what}.`, hint);
}

/** The encoder with other colours. Its batches must come with the `Recolouring` of their slide. */
export function withStain(encoder: Encoder, stain: StainPlan): Encoder {
  const { id, onDevice } = encoder;
  const requireColours = ({ recolouring }: PatchBatch) => {
    if (!recolouring) throw new TypeError(`${id}: a batch came without the colours of its slide`);
  };
  return {
    ...encoder,
    id: `${id}+${stainId(stain)}`,
    stain,
    async encode(batch, signal) {
      requireColours(batch);
      return await encoder.encode(batch, signal);
    },
    onDevice: onDevice && {
      ...onDevice,
      async encode(batch, target, signal) {
        requireColours(batch);
        await onDevice.encode(batch, target, signal);
      },
    },
  };
}

/** `macenko-1a2b3c4d`, `macenko-1a2b3c4d.augmented-7`, `augmented-7` */
export function stainId({ normalisation, augmentation }: StainPlan): string {
  const parts: string[] = [];
  if (normalisation) {
    const { method, target } = normalisation;
    parts.push(`${method}-${createHash('sha256').update(JSON.stringify(target)).digest('hex').slice(0, 8)}`);
  }
  if (augmentation) parts.push(`augmented-${augmentation.seed}`);
  return parts.join('.');
}

/** The method and the target that an id names, if it is the published one: `macenko-1a2b3c4d`. */
export function publishedStain(id: string): StainPlan | null {
  for (const method of stainMethods) {
    if (method === 'reinhard') continue;
    const plan: StainPlan = { normalisation: { method, target: PUBLISHED }, augmentation: null };
    if (stainId(plan) === id) return plan;
  }
  return null;
}

export interface SlideStain {
  /** For each batch of the slide, with `first` set to its first patch. */
  readonly recolouring: Recolouring;
  /** Why the slide's colours are left as they are; null if they are not. */
  readonly warning: string | null;
}

/** Patches of which the stains are fitted, and pixels of each. */
const SAMPLED_PATCHES = 48;
const SAMPLED_PIXELS = 2048;

/**
 * Fits the stains of a slide on patches all over its tissue. A slide with too little stain goes on with the colours it has.
 *
 * @param name of the slide: chance differs from slide to slide, and not from run to run.
 * @throws the signal's reason
 */
export async function fitSlideStain(
  name: string,
  slide: Slide,
  grid: PatchGrid,
  { normalisation, augmentation }: StainPlan,
  signal?: AbortSignal,
): Promise<SlideStain> {
  const chance = augmentation && { ...augmentation, seed: augmentation.seed ^ numberOf(name) };
  const done = (transform: StainTransform | null, warning: string | null): SlideStain => ({
    recolouring: { transform, augmentation: chance, first: 0 },
    warning,
  });
  if (!normalisation || grid.count === 0) return done(null, null);
  const { method, target } = normalisation;
  const found = fitStains(method, await sampleSlide(name, slide, grid, signal));
  if (!('reason' in found)) return done(stainTransform(found, target), null);
  return done(null, `The stains were not normalised (${method}): ${found.reason}.`);
}

async function sampleSlide(name: string, slide: Slide, grid: PatchGrid, signal?: AbortSignal): Promise<Uint8Array> {
  const wanted = Math.min(grid.count, SAMPLED_PATCHES);
  const chosen = Array.from({ length: wanted }, (_, i) => Math.floor(((i + 0.5) * grid.count) / wanted));
  const samples = await Promise.all(chosen.map((patch) => samplePatch(numberOf(name), slide, grid, patch, signal)));
  return Buffer.concat(samples);
}

/** Pixels of one patch; none if a part of it cannot be read. */
async function samplePatch(
  seed: number,
  slide: Slide,
  grid: PatchGrid,
  patch: number,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const random = createRandom(seed + patch);
  const count = Math.min(grid.patchPx ** 2, SAMPLED_PIXELS);
  for await (const { pixels, holes } of patches(slide, sliceGrid(grid, patch, patch + 1), { batchSize: 1, signal })) {
    if (holes.length > 0) break;
    const sample = new Uint8Array(3 * count);
    for (let i = 0; i < count; i++) {
      const at = 3 * integer(random, grid.patchPx ** 2);
      sample.set(pixels.subarray(at, at + 3), 3 * i);
    }
    return sample;
  }
  return new Uint8Array(0);
}

/** FNV-1a */
function numberOf(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}
