import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { onnxModel } from '../../bench/onnx/writer.ts';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { readBag } from '../../src/features/store.ts';
import { channelMeans } from '../features/encoders/tiny-networks.ts';
import { lamina } from './spawn.ts';

let folder: string;
let slide: string;
let network: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lamina-encoders-'));
  // Nobody's weights.
  process.env.LAMINA_CACHE = folder;
  const { slides } = await writeSyntheticCohort(join(folder, 'slides'), {
    slides: 2,
    seed: 4,
    widthPx: 1600,
    heightPx: 1200,
  });
  slide = slides[0]!.path;
  network = join(folder, 'tiny.onnx');
  await writeFile(network, onnxModel(channelMeans()).model);
  await writeFile(
    join(folder, 'encoder.json'),
    JSON.stringify({ size: 32, patchPx: 128, mean: [0, 0, 0], std: [1, 1, 1] }),
  );
});
afterAll(() => rm(folder, { recursive: true }));

const extract = (out: string, ...more: string[]) =>
  lamina('extract', slide, '--out', join(folder, out), '--json', ...more);

async function madeIn(out: string) {
  const [id] = await readdir(join(folder, out, 'slides'));
  const made = join(folder, out, 'slides', id!);
  return {
    record: JSON.parse(await readFile(join(made, 'slide.json'), 'utf8')),
    bag: await readBag(join(made, 'bag.arrow')),
  };
}

describe('lamina encoders', () => {
  it('lists the encoders with what each wants, as a table and as an object', async () => {
    const { code, stdout } = await lamina('encoders', '--json');
    expect(code).toBe(0);
    const { encoders } = JSON.parse(stdout);
    expect(encoders[0]).toMatchObject({ name: 'stain-texture', here: true });
    expect(encoders.find(({ name }: { name: string }) => name === 'virchow2')).toMatchObject({
      dimension: 2560,
      recipe: { size: 224, tokens: { pool: 'cls+mean', skip: 5 } },
      gated: true,
    });
    const table = await lamina('encoders');
    expect(table.stdout).toMatch(/^uni2-h +1536 +256 to 224 +0.5 +cls +no +CC-BY-NC-ND-4.0 +ask at https:/m);
  });

  it('prints the stains of a picture, which other commands take as their target', async () => {
    const { code, stdout } = await lamina('encoders', '--stain-of', slide);
    expect(code).toBe(0);
    await writeFile(join(folder, 'target.json'), stdout);
    const run = await extract('own', '--stain', 'macenko', '--stain-target', join(folder, 'target.json'));
    expect(run.code).toBe(0);
    expect((await madeIn('own')).bag.meta.encoder).toMatch(/^stain-texture@1\+macenko-[0-9a-f]{8}$/);
  });
});

describe('lamina extract with a network', () => {
  it('writes its id, name and hash, and the features of the patches', async () => {
    const { code } = await extract('network', '--encoder', network, '--device', 'wasm');
    expect(code).toBe(0);
    const { bag } = await madeIn('network');
    expect(bag.meta).toMatchObject({ encoder: expect.stringMatching(/^tiny@[0-9a-f]{12}$/), patchPx: 128 });
    expect(bag.dimension).toBe(3);
    expect(bag.count).toBeGreaterThan(5);
    // Mean colours of stained tissue: between black and white, green the darkest.
    for (let i = 0; i < bag.count; i++) {
      const [r, g, b] = bag.features.subarray(3 * i, 3 * i + 3);
      expect(Math.min(r!, g!, b!)).toBeGreaterThan(0.2);
      expect(g).toBeLessThan(Math.min(r!, b!));
    }
  });

  it('runs again for other stains, and not for the same', async () => {
    const skipped = async (...more: string[]) => {
      const { stdout, code } = await extract('again', '--encoder', network, '--device', 'wasm', ...more);
      expect(code).toBe(0);
      return JSON.parse(stdout).slides[0].skipped as boolean;
    };
    expect(await skipped()).toBe(false);
    expect(await skipped()).toBe(true);
    const plain = await madeIn('again');
    expect(await skipped('--stain', 'macenko')).toBe(false);
    expect(await skipped('--stain', 'macenko')).toBe(true);
    const changed = await madeIn('again');
    expect(changed.bag.meta.encoder).toMatch(/^tiny@[0-9a-f]{12}\+macenko-/);
    expect(changed.bag.features).not.toEqual(plain.bag.features);
    expect(changed.record.warnings).toEqual(plain.record.warnings);
  });

  it('goes on with a slide of too little stain, and says so in its record', async () => {
    const path = join(folder, 'grey.png');
    const noise = Uint8Array.from({ length: 600 * 600 }, (_, i) => 120 + ((i * 7919) % 60));
    const pixels = Uint8Array.from({ length: 600 * 600 * 3 }, (_, i) => noise[Math.floor(i / 3)]!);
    const raw = { width: 600, height: 600, channels: 3 as const };
    await sharp({ create: { width: 1200, height: 1200, channels: 3, background: '#fff' } })
      .composite([{ input: await sharp(pixels, { raw }).png().toBuffer(), left: 300, top: 300 }])
      .png()
      .toFile(path);
    const out = join(folder, 'grey');
    const given = ['--mpp', '0.5', '--min-tissue', '0', '--stain', 'macenko', '--json'];
    const { code } = await lamina('extract', path, '--encoder', network, '--device', 'wasm', '--out', out, ...given);
    expect(code).toBe(0);
    const { record, bag } = await madeIn('grey');
    expect(bag.count).toBeGreaterThan(0);
    expect(record.warnings.join(' ')).toMatch(/stains were not normalised \(macenko\)/);
  });

  it.each([
    [['--encoder', 'uni'], /weights of UNI are not here.*huggingface\.co\/MahmoodLab\/UNI.*--weights/],
    [['--encoder', 'nowhere.onnx'], /there is no such file/],
    [['--encoder', 'package.json/'], /no such file|not an ONNX file/],
    [['--stain', 'reinhard'], /--stain-target/],
    [['--weights', 'a.onnx'], /has no weights/],
  ])('of %j is refused before a slide is touched', async (given, says) => {
    const { code, stderr } = await lamina('extract', slide, '--out', join(folder, 'refused'), ...given);
    expect(code).toBe(1);
    expect(stderr).toMatch(says);
    await expect(readdir(join(folder, 'refused'))).rejects.toThrow('ENOENT');
  });
});
