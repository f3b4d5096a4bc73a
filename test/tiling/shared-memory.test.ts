import { describe, expect, it } from 'vitest';
import { giveMemory, takeMemory } from '../../src/tiling/shared-memory.ts';

const MB = 1024 * 1024;

describe('memory that is used again', () => {
  it('is given to whoever asks for as much', () => {
    const memory = takeMemory(MB);
    giveMemory(memory);
    expect(takeMemory(2 * MB)).not.toBe(memory);
    expect(takeMemory(MB)).toBe(memory);
    expect(takeMemory(MB)).not.toBe(memory);
  });

  it('keeps no more than its share, and what came last', () => {
    const old = Array.from({ length: 3 }, () => takeMemory(60 * MB));
    for (const memory of old) giveMemory(memory);
    const late = takeMemory(50 * MB);
    giveMemory(late);
    expect(takeMemory(50 * MB)).toBe(late);
    expect(old).not.toContain(takeMemory(60 * MB));
  });
});
