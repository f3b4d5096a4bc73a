import { describe, expect, it } from 'vitest';
import type { BagMeta } from '../../src/features/bag.ts';
import { requireMatch } from '../../src/features/bag-check.ts';

const meta = { encoder: 'stain-texture@1', patchMpp: 0.5 } as BagMeta;
const bag = { meta, dimension: 96 };
const needs = { encoder: 'stain-texture@1', dimension: 96, patchMpp: 0.5 };

describe('a bag and a model', () => {
  it.each([
    ['are alike', bag, needs],
    ['differ by the rounding of a scanner', { ...bag, meta: { ...meta, patchMpp: 0.4992 } }, needs],
    ['of unknown scale', { ...bag, meta: { ...meta, patchMpp: null } }, needs],
  ])('go together when they %s', (_, given, wanted) => {
    expect(() => requireMatch('bag.arrow', given, wanted)).not.toThrow();
  });

  it.each([
    ['encoder', { ...needs, encoder: 'resnet50@ab' }, /bag\.arrow.*stain-texture@1.*resnet50@ab/],
    ['width', { ...needs, dimension: 1024 }, /bag\.arrow.*96 features.*1024/],
    ['scale', { ...needs, patchMpp: 0.25 }, /bag\.arrow.*0\.5 um\/px.*0\.25 um\/px/],
  ])('are refused by name when they differ in %s', (_, wanted, message) => {
    expect(() => requireMatch('bag.arrow', bag, wanted)).toThrow(
      expect.objectContaining({ code: 'encoder-mismatch', message: expect.stringMatching(message) }),
    );
  });
});
