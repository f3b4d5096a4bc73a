import { describe, expect, it } from 'vitest';
import { createRandom, integer } from '../../src/random.ts';
import { createReadAhead } from '../../src/tiling/read-ahead.ts';

const file = Uint8Array.from({ length: 3_000_000 }, (_, i) => (i * 2654435761) >>> 13);

/** The file, its reads counted, unreadable from some byte on. */
function createFile(end = file.length) {
  const reads: number[] = [];
  const read = async (offset: number, length: number) => {
    reads.push(length);
    await new Promise((resolve) => setTimeout(resolve, 1));
    if (offset + length > end) throw new Error(`ends at ${end}`);
    return file.slice(offset, offset + length);
  };
  return { reads, read: createReadAhead(read, file.length) };
}

describe('reading ahead', () => {
  it('gives the bytes that are asked for, in a buffer of their own, in whatever order', async () => {
    const { read } = createFile();
    const random = createRandom(3);
    await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const length = integer(random, random() < 0.1 ? 400_000 : 20_000);
        const offset =
          random() < 0.5 ? Math.min(i * 9000, file.length - length) : integer(random, file.length - length);
        const bytes = await read(offset, length);
        expect(bytes.buffer.byteLength).toBe(length);
        expect(Buffer.compare(bytes, file.subarray(offset, offset + length))).toBe(0);
      }),
    );
  });

  it('joins what is asked for in a row, and reads no more of what is not', async () => {
    const row = createFile();
    for (let offset = 0; offset < 2_000_000; offset += 10_000) await row.read(offset, 10_000);
    expect(row.reads.length).toBeLessThan(12);
    const scattered = createFile();
    for (let offset = 0; offset < 2_000_000; offset += 100_000) await scattered.read(offset, 10_000);
    expect(scattered.reads).toEqual(Array(20).fill(10_000));
  });

  it('fails only where the bytes themselves cannot be read, and not for ever', async () => {
    const { read } = createFile(100_000);
    for (let offset = 0; offset < 100_000; offset += 10_000) expect(await read(offset, 10_000)).toHaveLength(10_000);
    await expect(read(100_000, 10)).rejects.toThrow('ends at 100000');
    expect(await read(90_000, 10_000)).toHaveLength(10_000);
  });
});
