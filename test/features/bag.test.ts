import { describe, expect, it } from 'vitest';
import { type BagMeta, cellsOfBag } from '../../src/features/bag.ts';

const meta: BagMeta = {
  slideId: 'a',
  slideHash: null,
  mpp: null,
  mppSource: 'none',
  patchMpp: null,
  patchPx: 256,
  patchLevel0Px: 512,
  encoder: 'e',
  order: 'row-major',
  version: '0',
};
const coords = Int32Array.of(0, 0, 256, 0, 512, 768);

describe('cells of a bag', () => {
  it('are places side by side, unless the bag says how far apart they are', () => {
    expect([...cellsOfBag({ coords, meta })!]).toEqual([0, 0, 0, 0, 1, 1]);
    expect([...cellsOfBag({ coords, meta: { ...meta, strideLevel0Px: 256 } })!]).toEqual([0, 0, 0, 1, 3, 2]);
  });

  it('are not guessed', () => {
    expect(cellsOfBag({ coords: null, meta })).toBeNull();
    expect(cellsOfBag({ coords, meta: { ...meta, patchLevel0Px: null } })).toBeNull();
  });
});
