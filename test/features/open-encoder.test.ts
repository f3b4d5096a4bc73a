import { afterAll, describe, expect, it } from 'vitest';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { encodeStains } from '../../src/features/stain-vector.ts';

const SIZE = 64;
const encoder = await openEncoder('stain-texture');
afterAll(() => encoder.close());

function batch(count: number, seed: number) {
  const pixels = Uint8Array.from({ length: count * SIZE * SIZE * 3 }, (_, i) => (i * seed + (i >> 6)) % 251);
  return { pixels, count, size: SIZE };
}

describe('the built-in encoder', () => {
  it('gives from its worker what the features are, batch by batch, and leaves the pixels alone', async () => {
    const batches = [batch(3, 7), batch(1, 11), batch(0, 1), batch(2, 13)];
    const found = await Promise.all(batches.map((given) => encoder.encode(given)));
    batches.forEach((given, i) => {
      expect(given.pixels.length).toBe(given.count * SIZE * SIZE * 3);
      expect(found[i]).toEqual(encodeStains(given));
      expect(found[i]).toHaveLength(given.count * encoder.dimension);
    });
  });

  it('stops waiting when told to, and goes on with the next', async () => {
    const control = new AbortController();
    const given = batch(40, 3);
    const aborted = encoder.encode(given, control.signal);
    control.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    await expect(encoder.encode(given, control.signal)).rejects.toThrow('enough');
    expect(await encoder.encode(batch(1, 5))).toEqual(encodeStains(batch(1, 5)));
  });

  it('refuses patches that are too small, and batches that are not what they say', async () => {
    await expect(encoder.encode({ pixels: new Uint8Array(32 * 32 * 3), count: 1, size: 32 })).rejects.toMatchObject({
      code: 'patch-too-small',
    });
    await expect(encoder.encode({ pixels: new Uint8Array(10), count: 1, size: 64 })).rejects.toThrow(RangeError);
  });

  it('is over when closed, also for those who wait', async () => {
    const other = await openEncoder('stain-texture@1');
    const waiting = other.encode(batch(50, 3));
    await Promise.all([expect(waiting).rejects.toThrow('ended'), other.close()]);
    await expect(other.encode(batch(1, 3))).rejects.toThrow('ended');
  });
});

describe('an encoder', () => {
  it.each(['resnet51', 'stain-texture@2', 'toString', ''])(
    'called "%s" is unknown, and the known ones are listed',
    async (name) => {
      await expect(openEncoder(name)).rejects.toMatchObject({
        code: 'unknown-encoder',
        hint: expect.stringContaining('stain-texture'),
      });
    },
  );
});
