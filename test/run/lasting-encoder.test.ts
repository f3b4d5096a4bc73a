import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.ts';
import type { Encoder } from '../../src/features/encoder.ts';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { lastingEncoder } from '../../src/run/lasting-encoder.ts';

describe('an encoder that lasts', () => {
  it('fails with what broke it, and encodes again afterwards', async () => {
    const opened: Encoder[] = [];
    const open = async () => {
      const encoder = await openEncoder('stain-texture');
      opened.push(encoder);
      return encoder;
    };
    const encoder = lastingEncoder(await open(), open);
    const batch = { pixels: new Uint8Array(2 * 256 * 256 * 3).fill(150), count: 2, size: 256 };
    const before = await encoder.encode(batch);
    // Its thread ends in the middle of the work.
    const broken = [encoder.encode(batch), encoder.encode(batch)];
    await opened[0]!.close();
    for (const { status } of await Promise.allSettled(broken)) expect(status).toBe('rejected');
    expect(await encoder.encode(batch)).toEqual(before);
    expect(opened).toHaveLength(2);
    await encoder.close();
  });

  it('is opened for the next one, when it could not be for this one', async () => {
    const first = await openEncoder('stain-texture');
    let attempts = 0;
    const encoder = lastingEncoder(first, async () => {
      if (++attempts === 1) throw new UserError('no-gpu', 'No WebGPU adapter was found.', 'Wait for it.');
      return await openEncoder('stain-texture');
    });
    const batch = { pixels: new Uint8Array(256 * 256 * 3).fill(150), count: 1, size: 256 };
    const broken = encoder.encode(batch);
    await first.close();
    await expect(broken).rejects.toThrow();
    await expect(encoder.encode(batch)).rejects.toMatchObject({ code: 'no-gpu' });
    expect(await encoder.encode(batch)).toHaveLength(encoder.dimension);
    await encoder.close();
  });

  it('is not replaced for a batch that it refuses', async () => {
    let opened = 0;
    const encoder = lastingEncoder(await openEncoder('stain-texture'), async () => {
      opened++;
      return await openEncoder('stain-texture');
    });
    await expect(encoder.encode({ pixels: new Uint8Array(4 * 4 * 3), count: 1, size: 4 })).rejects.toThrow(/4 px/);
    expect(opened).toBe(0);
    await encoder.close();
  });
});
