import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSyntheticSlide } from '../../../datasets/synthetic/slide.ts';
import type { Encoder, PatchBatch } from '../../../src/features/encoder.ts';
import { openEncoder } from '../../../src/features/open-encoder.ts';
import type { Recolouring } from '../../../src/features/stain.ts';
import { DIMENSION, encodeStains } from '../../../src/features/stain-vector.ts';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { openSwiftShader, withoutSwiftShader } from '../../kernels/webgpu/swiftshader.ts';

describe.skipIf(withoutSwiftShader !== null)(`stain-texture in WGSL (${withoutSwiftShader ?? 'SwiftShader'})`, () => {
  let folder = '';
  let device: WebGpuDevice;
  let encoder: Encoder;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lamina-wgsl-'));
    await writeSyntheticSlide(join(folder, 'slide.tif'), { seed: 5, widthPx: 1200, heightPx: 900, tumour: true });
    device = await openSwiftShader();
    encoder = await openEncoder('stain-texture', { device: async () => device });
  }, 300_000);
  afterAll(async () => {
    await encoder.close();
    await device.close();
    await rm(folder, { recursive: true });
  });

  /** Patches of a slide, then white, black and noise. */
  async function batchOf(size: number): Promise<PatchBatch> {
    const patches: Uint8Array[] = [];
    for (const [left, top] of [
      [300, 300],
      [500, 400],
      [640, 200],
    ] as const) {
      const cut = sharp(join(folder, 'slide.tif')).extract({ left, top, width: size, height: size });
      patches.push(new Uint8Array(await cut.removeAlpha().raw().toBuffer()));
    }
    const bytes = 3 * size * size;
    patches.push(new Uint8Array(bytes).fill(255), new Uint8Array(bytes));
    let state = 1;
    patches.push(Uint8Array.from({ length: bytes }, () => (state = (state * 48271) % 0x7fffffff) % 256));
    return { pixels: Uint8Array.from(patches.flatMap((patch) => [...patch])), count: patches.length, size };
  }

  function expectClose(found: Float32Array, wanted: Float32Array): void {
    expect(found.length).toBe(wanted.length);
    found.forEach((value, i) => {
      const what = `feature ${i % DIMENSION} of patch ${Math.floor(i / DIMENSION)}`;
      expect(Math.abs(value - wanted[i]!), what).toBeLessThan(1e-3);
    });
  }

  it('gives the numbers of the loops in WebAssembly', { timeout: 300_000 }, async () => {
    expect(encoder).toMatchObject({ id: 'stain-texture@1', dimension: DIMENSION });
    // An even number of words, and sides that halve with a rest.
    for (const size of [128, 101]) {
      const batch = await batchOf(size);
      expectClose(await encoder.encode(batch), encodeStains(batch));
    }
  });

  it('of other colours too', { timeout: 300_000 }, async () => {
    const recolouring: Recolouring = {
      transform: { kind: 'lab', scale: [1.1, 0.9, 1], shift: [0.1, 0, -0.05] },
      augmentation: { seed: 3, strength: 0.2 },
      first: 40,
    };
    const batch = { ...(await batchOf(96)), recolouring };
    expectClose(await encoder.encode(batch), encodeStains(batch));
  });

  it('leaves nothing but the features on the device', { timeout: 300_000 }, async () => {
    const batch = await batchOf(64);
    const live = device.memory().live;
    const storage = device.create(batch.count * DIMENSION + 5);
    device.write(storage, new Float32Array(storage.length).fill(7));
    await encoder.onDevice!.encode(batch, { storage, offset: 5, length: batch.count * DIMENSION });
    const all = await device.read({ storage, offset: 0, length: storage.length });
    expect([...all.subarray(0, 5)]).toEqual([7, 7, 7, 7, 7]);
    expectClose(all.subarray(5), encodeStains(batch));
    device.release(storage);
    expect(device.memory().live).toBe(live);
  });

  it('refuses patches that are too small, as the CPU does', async () => {
    const batch = { pixels: new Uint8Array(3 * 32 * 32), count: 1, size: 32 };
    await expect(encoder.encode(batch)).rejects.toMatchObject({ code: 'patch-too-small' });
  });
});
