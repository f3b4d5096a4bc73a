import { describe, expect, it } from 'vitest';
import { findPreset, presets } from '../../../src/features/encoders/presets.ts';

describe('the presets', () => {
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
