/**
 * The real files of tests: those below LAMINA_DATA, whatever lies there. What a test expects of a file it reads from the file by
 * another road than the program's; numbers that were measured, on the bytes that they were measured on alone.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';

export const dataFolder = process.env.LAMINA_DATA ?? '../shared/data';

/** sha256 of the files that numbers in tests were measured on; of a folder, of its files' names and bytes in order. */
const MEASURED = {
  'slides/CMU-1-Small-Region.svs': 'ed92d5a9f2e86df67640d6f92ce3e231419ce127131697fbbce42ad5e002c8a7',
  'slides/kidney-48-5.tif': '2dbe184b45f25624d6fa533b781867b52d0fa8f82741a3f0799dd6738f12c681',
  'slides/multi-channel.ome.tif': 'ff98dcffeebc6ea7011ba3ece20b7f8841bed57949566eb2460e7da389be9fd3',
  'slides/multiframe_camelyon_challenge_image.dcm': '03eb4607a74830736e446179eb4b4ba1417be8d88b47d66499680347eecb61c9',
  'slides/tcga-cr-7395-01a-01-ts1.svs': '77da93f125bfc55570b9731af309b81904dc2648722103d7c3bf5db4f8a6a365',
  'slides/test3-DAPI-2-387.ndpi': '9294d31f304f20ef1df1e08650d3f225b8ed44db8b2dc0d52f584449f85bdca2',
  'slides/wsi-jpeg.dcm': '4d674efca57870096e6e8dc138ee77e0e0a3ad483732974f4e6b8c08658d363c',
  'slides/wsi-jpeg2000-lossless.dcm': '6dd1bcde339cb486940e694ba7394b5bc22757a587dff49b4a83faf65f7d4dd8',
  'masks/histoqc-pen_red.png': '65e81cd042b4943edc792861185c12a910a338c0bb60a7fd3fdb6de0d8a21812',
  'masks/tcga-lung-rgb.png': 'd0e238484fcac55c35c898a0e70c81e0f7e489ba0539b3b97640ddc9ef2c955d',
  'masks/tcga-red-pen.png': '26c6e71f7e00e73a9683eb025e702100eb7b6078f9d0bb7e3aaf05bc0edbd690',
  'stain/torchstain-source.png': '16eac22a223ce292c1728c0bd1bbba709a0317afd835122fc48a9f840ca3f277',
  'stain/torchstain-target.png': '7ffbb38effdff20d950acc2d059a378190a88d3b5a5a2564e28200654cb21837',
  'models/mobilenet_v1_1.0_224_tfjs': '59403dcccfe21bf5f4ca7cb82aff3f6cdf3afd60e5cffcef09ecccd28a3205b3',
  'tiles/crc-val-he-7k': '24c26ff83b79d34761a9a7aafb42b8d7bdd6c8ca268e61c25e5c490264e7240b',
} as const;

export type MeasuredFile = keyof typeof MEASURED;

/** Whether a file of the folder, or each of its folders' files, has the bytes that numbers were measured on. */
export function isMeasured(...names: readonly MeasuredFile[]): boolean {
  return names.every((name) => existsSync(join(dataFolder, name)) && hashOf(join(dataFolder, name)) === MEASURED[name]);
}

function hashOf(path: string): string {
  const hash = createHash('sha256');
  if (statSync(path).isFile()) return hash.update(readFileSync(path)).digest('hex');
  const names = (readdirSync(path, { recursive: true }) as string[]).sort();
  for (const name of names)
    if (statSync(join(path, name)).isFile()) hash.update(name).update(readFileSync(join(path, name)));
  return hash.digest('hex');
}

const slides = join(dataFolder, 'slides');

/** Names of whatever slides lie in the folder: files, and folders of DICOM files. */
export const slideNames: readonly string[] = (existsSync(slides) ? readdirSync(slides, { withFileTypes: true }) : [])
  .filter((entry) =>
    entry.isDirectory()
      ? readdirSync(join(slides, entry.name)).some((name) => name.endsWith('.dcm'))
      : !/^\.|\.(md|txt|json|csv)$/.test(entry.name),
  )
  .map(({ name }) => name)
  .sort();

/** Path of a slide that is of use: the preferred one, else the first whose name ends so; null without any. */
export function findSlide(preferred: string, ending: string): string | null {
  const name = slideNames.includes(preferred) ? preferred : slideNames.find((other) => other.endsWith(ending));
  return name === undefined ? null : join(slides, name);
}
