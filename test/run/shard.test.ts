import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inShard, parseShard } from '../../src/run/shard.ts';

describe('a shard', () => {
  it('is one of parts that together are the whole, each once, and about equal', () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer({ min: 1, max: 20 }), (values, count) => {
        const all = values.map((value, i) => ({ value, i }));
        const parts = Array.from({ length: count }, (_, i) => inShard(all, { index: i + 1, count }));
        expect(parts.flat().sort((a, b) => a.i - b.i)).toEqual(all);
        const sizes = parts.map((part) => part.length);
        expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
      }),
    );
  });

  it.each([
    ['1/8', { index: 1, count: 8 }],
    ['8/8', { index: 8, count: 8 }],
    ['0/8', null],
    ['9/8', null],
    ['1', null],
    ['1/0', null],
    ['-1/2', null],
    ['1/2/3', null],
  ])('%s', (text, shard) => expect(parseShard(text)).toEqual(shard));
});
