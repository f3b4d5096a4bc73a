import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import { failureOf } from '../../src/run/slide-failure.ts';

const thrown = (work: () => unknown): unknown => {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
};

describe('what was thrown over a slide', () => {
  it.each<[string, () => unknown]>([
    ['an array that does not fit', () => thrown(() => new ArrayBuffer(2 ** 50))],
    ['a WebAssembly memory that does not fit', () => thrown(() => new WebAssembly.Memory({ initial: 65536 }).grow(1))],
    [
      'a thread that had too little',
      () =>
        new Promise((resolve) => {
          const source = 'const all = []; for (;;) all.push(new Array(1e5).fill({}));';
          const worker = new Worker(source, { eval: true, resourceLimits: { maxOldGenerationSizeMb: 16 } });
          worker.once('error', resolve);
        }),
    ],
  ])('%s is too little memory, with what to do', async (_, make) => {
    const failure = failureOf(await make());
    expect(failure).toMatchObject({ code: 'out-of-memory', hint: expect.stringMatching(/--batch/) });
  });

  it('is a sentence of its own, or a fault of the program', () => {
    expect(failureOf(new UserError('a', 'b.', 'c.'))).toEqual({ code: 'a', message: 'b.', hint: 'c.' });
    expect(failureOf(new TypeError('x is not a function'))).toMatchObject({
      code: 'fault',
      message: 'x is not a function',
    });
  });
});
