/** `training-slides.json` in a model's folder: which slides it was trained on, by hash, so that nobody evaluates it on them unawares. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BagMeta } from '../features/bag.ts';
import { readBagHead } from '../features/store.ts';
import { writeJson } from '../run/whole-file.ts';
import type { BagFile } from './bag-files.ts';

const FILE = 'training-slides.json';

/** The hash of a slide; its name where the tool that made the bag did not say. */
export function slideMark(id: string, { slideHash }: Pick<BagMeta, 'slideHash'>): string {
  return slideHash ?? id;
}

/** @param marks of the slides whose labels the model has seen, those that chose the epoch included. */
export async function writeTrainingSlides(modelFolder: string, marks: readonly string[]): Promise<void> {
  await writeJson(join(modelFolder, FILE), { slides: [...new Set(marks)] });
}

/** Those of the slides that a model was trained on; none where its folder does not say. */
export async function seenInTraining(modelFolder: string, bags: readonly BagFile[]): Promise<BagFile[]> {
  const text = await readFile(join(modelFolder, FILE), 'utf8').catch(() => null);
  if (text === null) return [];
  const { slides } = JSON.parse(text) as { readonly slides: readonly string[] };
  const known = new Set(slides);
  const seen: BagFile[] = [];
  for (const bag of bags) if (known.has(slideMark(bag.id, (await readBagHead(bag.path)).meta))) seen.push(bag);
  return seen;
}
