import { describe, expect, it } from 'vitest';
import { findPreset, presets } from '../../../src/features/encoders/presets.ts';

const IMAGENET = [
  [0.485, 0.456, 0.406],
  [0.229, 0.224, 0.225],
];
const CLIP = [
  [0.48145466, 0.4578275, 0.40821073],
  [0.26862954, 0.26130258, 0.27577711],
];
const HALF = [
  [0.5, 0.5, 0.5],
  [0.5, 0.5, 0.5],
];
const HIBOU = [
  [0.7068, 0.5755, 0.722],
  [0.195, 0.2316, 0.1816],
];
const BIOPTIMUS = [
  [0.707223, 0.578729, 0.703617],
  [0.211883, 0.230117, 0.177517],
];

/**
 * Read from the sources, not from our code: `load.py`, `constants.py`, `conchv1_5.py` and the table of the README of TRIDENT
 * (side of the input, of the resized picture and of the patch, um/px as 10 / magnification, interpolation, constants, width, tokens),
 * `factory.py`, `transform.py` and `constants.py` of CONCH, `histai.py` of eva for the registers of Hibou, and AtlasPatch's
 * `midnight.py` for the two halves of Midnight. Torchvision's Resize is bilinear where nothing is said.
 */
const sources: readonly [
  name: string,
  size: number,
  resize: number,
  patchPx: number,
  mpp: number,
  interpolation: string,
  constants: number[][],
  width: number,
  pool: string,
  skip: number,
][] = [
  ['resnet50', 224, 224, 256, 0.5, 'bilinear', IMAGENET, 1024, 'cls', 1],
  ['ctranspath', 224, 224, 256, 1, 'bilinear', IMAGENET, 768, 'cls', 1],
  ['phikon', 224, 224, 224, 0.5, 'bilinear', IMAGENET, 768, 'cls', 1],
  ['phikon-v2', 224, 224, 224, 0.5, 'bilinear', IMAGENET, 1024, 'cls', 1],
  ['uni', 224, 224, 256, 0.5, 'bilinear', IMAGENET, 1024, 'cls', 1],
  ['uni2-h', 224, 224, 256, 0.5, 'bilinear', IMAGENET, 1536, 'cls', 9],
  ['conch', 448, 448, 512, 0.5, 'bicubic', CLIP, 512, 'cls', 1],
  ['conch-v1.5', 448, 448, 512, 0.5, 'bilinear', IMAGENET, 768, 'cls', 1],
  ['virchow', 224, 224, 224, 0.5, 'bicubic', IMAGENET, 2560, 'cls+mean', 1],
  ['virchow2', 224, 224, 224, 0.5, 'bicubic', IMAGENET, 2560, 'cls+mean', 5],
  ['prov-gigapath', 224, 256, 256, 0.5, 'bicubic', IMAGENET, 1536, 'cls', 1],
  ['h-optimus-0', 224, 224, 224, 0.5, 'bilinear', BIOPTIMUS, 1536, 'cls', 5],
  ['h-optimus-1', 224, 224, 224, 0.5, 'bilinear', BIOPTIMUS, 1536, 'cls', 5],
  ['hibou-b', 224, 224, 224, 0.5, 'bicubic', HIBOU, 768, 'cls', 5],
  ['hibou-l', 224, 224, 224, 0.5, 'bicubic', HIBOU, 1024, 'cls', 5],
  ['kaiko-vits8', 224, 224, 256, 0.5, 'bilinear', HALF, 384, 'cls', 1],
  ['kaiko-vits16', 224, 224, 256, 0.5, 'bilinear', HALF, 384, 'cls', 1],
  ['kaiko-vitb8', 224, 224, 256, 0.5, 'bilinear', HALF, 768, 'cls', 1],
  ['kaiko-vitb16', 224, 224, 256, 0.5, 'bilinear', HALF, 768, 'cls', 1],
  ['kaiko-vitl14', 224, 224, 256, 0.5, 'bilinear', HALF, 1024, 'cls', 5],
  ['midnight', 224, 224, 224, 0.5, 'bilinear', HALF, 3072, 'cls+mean', 1],
];

describe('the presets', () => {
  it.each(sources)(
    '%s is fed as its sources feed it',
    (name, size, resize, patchPx, mpp, interpolation, [mean, std], width, pool, skip) => {
      const { recipe, dimension } = findPreset(name)!;
      const wanted = { size, resize, patchPx, mpp, interpolation, mean, std, tokens: { pool, skip } };
      expect({ ...recipe, dimension }).toMatchObject({ ...wanted, dimension: width });
    },
  );

  it('are all in the table of sources', () => {
    expect(presets.map(({ name }) => name)).toEqual(sources.map(([name]) => name));
  });

  it('are the encoders of the field, each once', () => {
    const names = presets.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of [
      'resnet50',
      'ctranspath',
      'phikon',
      'phikon-v2',
      'uni',
      'uni2-h',
      'conch',
      'conch-v1.5',
      'virchow',
      'virchow2',
      'prov-gigapath',
      'h-optimus-0',
      'h-optimus-1',
      'hibou-b',
      'hibou-l',
      'kaiko-vitb16',
      'midnight',
    ]) {
      expect(findPreset(name)?.name).toBe(name);
    }
    expect(findPreset('toString')).toBeNull();
  });

  it('say all that is needed, in order', () => {
    for (const { name, title, dimension, recipe, licence, access } of presets) {
      expect(name).toMatch(/^[\w.-]+$/);
      expect(title && licence).toBeTruthy();
      expect(access).toMatch(/^https:\/\//);
      expect(recipe.size).toBeLessThanOrEqual(recipe.resize);
      expect(recipe.resize).toBeLessThanOrEqual(recipe.patchPx);
      expect(recipe.mpp).toBeGreaterThan(0);
      expect(recipe.std.every((value) => value > 0 && value < 1)).toBe(true);
      // Two halves where two vectors are put together.
      if (recipe.tokens.pool === 'cls+mean') expect(dimension % 2).toBe(0);
    }
  });
});
