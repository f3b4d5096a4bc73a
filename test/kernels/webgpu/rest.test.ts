import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { restDuring } from '../../../src/kernels/webgpu/rest.ts';

/** Turns of an event loop that never rests, as Dawn's binding makes it, until `work` is done. */
async function turnsUntil(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let running = true;
  const turn = () => {
    turns++;
    if (running) setImmediate(turn);
  };
  setImmediate(turn);
  await work;
  running = false;
  return turns;
}

describe('waiting for the GPU in Node', () => {
  it('lets the loop rest, and everything else have its turns', async () => {
    const bare = await turnsUntil(sleep(200));
    let heard = 0;
    const timer = setInterval(() => heard++, 20);
    const resting = await turnsUntil(restDuring(sleep(200)));
    clearInterval(timer);
    expect(resting).toBeLessThan(bare / 5);
    expect(heard).toBeGreaterThan(3);
  });

  it('rests no more once nothing is awaited', async () => {
    await Promise.all([restDuring(sleep(20)), restDuring(sleep(40))]);
    await sleep(20);
    const [one, another] = [await turnsUntil(sleep(100)), await turnsUntil(restDuring(sleep(100)))];
    expect(one).toBeGreaterThan(5 * another);
  });

  it('gives back what it waited for, and its error', async () => {
    expect(await restDuring(Promise.resolve(7))).toBe(7);
    await expect(restDuring(Promise.reject(new Error('lost')))).rejects.toThrow('lost');
  });
});
