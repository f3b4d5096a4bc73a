/** How patches become the input of a network, and its output features: what the weights file itself does not say. */
import { readFile } from 'node:fs/promises';
import { UserError } from '../../errors.ts';
import type { Mpp } from '../../units.ts';

export type Interpolation = 'bilinear' | 'bicubic';

/** What is made of tokens, (n, tokens, width): the class token, the mean of the patches' tokens, or the two in a row. */
export interface TokenRule {
  readonly pool: 'cls' | 'mean' | 'cls+mean';
  /** Tokens before those of patches: class token and registers. */
  readonly skip: number;
}

/** Where the channels of pictures and maps are: before rows and columns, or after them. */
export type Layout = 'nchw' | 'nhwc';

export interface Recipe {
  /** Side of the input in pixels. */
  readonly size: number;
  /** Patches are resized to this side before their middle, of `size` px, is cut out. */
  readonly resize: number;
  /** Side of the patches to read, where nobody says otherwise. */
  readonly patchPx: number;
  /** Micrometres per pixel of these. */
  readonly mpp: Mpp;
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  readonly interpolation: Interpolation;
  readonly tokens: TokenRule;
  /** Of a map of features; null takes that of the pictures. */
  readonly map: Layout | null;
  /** The output to take, where there are several. */
  readonly output: string | null;
}

export const IMAGENET = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

/** For networks of which nothing is said: what most image networks want. */
export const defaultRecipe: Recipe = {
  size: 224,
  resize: 224,
  patchPx: 224,
  mpp: 0.5,
  ...IMAGENET,
  interpolation: 'bilinear',
  tokens: { pool: 'cls', skip: 1 },
  map: null,
  output: null,
};

/** Reads what `encoder.json` says over `base`. @throws UserError `bad-recipe` */
export async function readRecipe(path: string, base: Recipe): Promise<Recipe> {
  const text = await readFile(path, 'utf8');
  const bad = (what: string) =>
    new UserError('bad-recipe', `${path}: ${what}.`, 'See "encoder.json" in docs/encoders.md for what it may hold.');
  let given: unknown;
  try {
    given = JSON.parse(text);
  } catch {
    throw bad('it is not JSON');
  }
  if (typeof given !== 'object' || given === null || Array.isArray(given)) throw bad('it is not an object');
  for (const [key, value] of Object.entries(given)) {
    const check = Object.hasOwn(CHECKS, key) ? CHECKS[key as keyof Recipe] : null;
    if (!check) throw bad(`there is no setting "${key}" (there are ${Object.keys(CHECKS).join(', ')})`);
    if (!check.fits(value)) throw bad(`${key} must be ${check.wanted}, and is ${JSON.stringify(value)}`);
  }
  const { size } = given as Partial<Recipe>;
  // Who gives the side alone means all three.
  const sides = size === undefined ? {} : { resize: size, patchPx: size };
  const recipe: Recipe = { ...base, ...sides, ...given };
  if (recipe.resize < recipe.size) throw bad(`resize, ${recipe.resize}, is less than size, ${recipe.size}`);
  return recipe;
}

const isPositive = (value: unknown) => typeof value === 'number' && value > 0 && Number.isFinite(value);
const isCount = (value: unknown) => Number.isInteger(value) && (value as number) >= 0;
const isPixels = (value: unknown) => isCount(value) && isPositive(value);
const isThree = (value: unknown, fits: (one: unknown) => boolean) =>
  Array.isArray(value) && value.length === 3 && value.every(fits);

const CHECKS: Readonly<Record<keyof Recipe, { wanted: string; fits: (value: unknown) => boolean }>> = {
  size: { wanted: 'a number of pixels', fits: isPixels },
  resize: { wanted: 'a number of pixels', fits: isPixels },
  patchPx: { wanted: 'a number of pixels', fits: isPixels },
  mpp: { wanted: 'micrometres per pixel', fits: isPositive },
  mean: {
    wanted: 'three numbers',
    fits: (value) => isThree(value, (one) => typeof one === 'number' && Number.isFinite(one)),
  },
  std: { wanted: 'three numbers above 0', fits: (value) => isThree(value, isPositive) },
  interpolation: { wanted: 'bilinear or bicubic', fits: (value) => value === 'bilinear' || value === 'bicubic' },
  tokens: {
    wanted: 'an object like {"pool": "cls+mean", "skip": 5}',
    fits: (value) => {
      const { pool, skip, ...rest } = (value ?? {}) as Partial<TokenRule>;
      const isPool = pool === 'mean' || ((pool === 'cls' || pool === 'cls+mean') && skip !== 0);
      return isPool && isCount(skip) && Object.keys(rest).length === 0;
    },
  },
  map: { wanted: 'nchw or nhwc', fits: (value) => value === null || value === 'nchw' || value === 'nhwc' },
  output: { wanted: 'the name of an output', fits: (value) => value === null || typeof value === 'string' },
};
