import { afterAll, describe, expect, it } from 'vitest';
import { DecodePool, type DecodeTask } from '../../src/tiling/decode-pool.ts';
import type { Urgency } from '../../src/tiling/slide.ts';

const pool = new DecodePool(2);
afterAll(() => pool.close());

/** A raw tile of 4 x 4 pixels of one colour. */
function taskOf(colour: number): DecodeTask {
  const encoding = { codec: 'none', width: 4, height: 4, colour: 'rgb', samples: 3, differenced: false } as const;
  return {
    kind: 'decode',
    bytes: new Uint8Array(48).fill(colour),
    encoding,
    window: { width: 4, height: 4 },
    into: null,
  };
}

describe('the pool of decoders', () => {
  it('gives each its own answer, and holds few tasks however many wait', async () => {
    let prepared = 0;
    let finished = 0;
    let most = 0;
    const answers = Array.from({ length: 200 }, async (_, i) => {
      const data = await pool.run(async () => {
        most = Math.max(most, ++prepared - finished);
        return taskOf(i);
      });
      finished++;
      return new Uint8Array(data!)[0];
    });
    expect(await Promise.all(answers)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    expect(most).toBeLessThanOrEqual(8);
  });

  it('does first what is wanted now, and a quarter of the turns what is wanted later', async () => {
    const began: string[] = [];
    const ask = (urgency: Urgency) =>
      pool.run(
        () => {
          began.push(urgency);
          return taskOf(1);
        },
        undefined,
        1,
        urgency,
      );
    await Promise.all([
      ...Array.from({ length: 40 }, () => ask('later')),
      ...Array.from({ length: 60 }, () => ask('now')),
    ]);
    // Six had room at once; of the next eighty, sixty were for now.
    expect(began.slice(0, 6)).toEqual(Array(6).fill('later'));
    expect(began.slice(6, 86).filter((urgency) => urgency === 'now')).toHaveLength(60);
    expect(began.slice(86)).toEqual(Array(14).fill('later'));
  });

  it('decodes into shared memory when given some', async () => {
    const into = new SharedArrayBuffer(48);
    expect(await pool.run(() => ({ ...taskOf(7), into }))).toBeNull();
    expect([...new Uint8Array(into)]).toEqual(Array(48).fill(7));
  });

  it('passes on what goes wrong, and goes on', async () => {
    await expect(pool.run(() => Promise.reject(new Error('no bytes')))).rejects.toThrow('no bytes');
    await expect(pool.run(() => ({ ...taskOf(1), bytes: new Uint8Array(5) }))).rejects.toThrow('unpacks to 5 bytes');
    expect(await pool.run(() => null)).toBeNull();
    expect(await pool.run(() => taskOf(1))).toBeInstanceOf(ArrayBuffer);
  });

  it('does not begin what is aborted', async () => {
    await expect(pool.run(() => taskOf(1), AbortSignal.abort())).rejects.toThrow('aborted');
  });

  it('fails what comes after it is closed', async () => {
    const closed = new DecodePool(1);
    await closed.run(() => taskOf(1));
    await closed.close();
    await expect(closed.run(() => taskOf(1))).rejects.toThrow('closed');
  });
});
