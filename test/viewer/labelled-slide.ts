/** A real slide whose file holds a label: what is in its pictures may bear names. */
import { join, resolve } from 'node:path';
import { openSlide } from '../../src/tiling/open-slide.ts';
import { dataFolder, slideNames } from '../real-data.ts';

export interface LabelledSlide {
  readonly path: string;
  readonly width: number;
  readonly height: number;
  /** Sorted; label and thumbnail are among them. */
  readonly associated: readonly string[];
}

/** The first among the slides that has a label and a thumbnail; null without one. */
export async function findLabelledSlide(): Promise<LabelledSlide | null> {
  for (const name of slideNames) {
    const path = resolve(join(dataFolder, 'slides', name));
    const slide = await openSlide(path).catch(() => null);
    await slide?.close();
    if (!slide?.associated.includes('label') || !slide.associated.includes('thumbnail')) continue;
    const { width, height } = slide.levels[0]!;
    return { path, width, height, associated: slide.associated.toSorted() };
  }
  return null;
}
