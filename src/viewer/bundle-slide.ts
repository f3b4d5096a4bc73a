/** One slide of a bundle: what can be had of it as files, and a sentence for what cannot. */
import { join } from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { encodeScores, type Picture, type SlideEntry, type SlideView, scoresFile, type ViewLevel } from './api.ts';
import type { BundleFiles } from './bundle-files.ts';
import { deepZoomDescriptor, tileCount, type WrittenTiles, writeTiles } from './deep-zoom-files.ts';
import { rasterJpeg } from './picture.ts';
import type { Pictures, SlidePictures } from './pictures.ts';
import { type RunRecord, readOwnFile, type SlideRecord } from './run-folder.ts';
import { slideView } from './slide-routes.ts';
import { readScores } from './slide-scores.ts';
import { pictureOf } from './views.ts';

export interface SlideOptions {
  /** Leaves out levels with fewer micrometres a pixel; null keeps the full depth. */
  readonly finestMpp: number | null;
  /** Takes along label and macro images, which may bear names. */
  readonly showLabels: boolean;
  readonly signal: AbortSignal;
}

/** Tiles of the slide. */
export interface SlideProgress {
  readonly done: number;
  readonly tiles: number;
}

export interface BundledSlide {
  readonly id: string;
  readonly tiles: number;
  readonly bytes: number;
  /** Micrometres per pixel of the finest level in the bundle; null without a picture or a scale. */
  readonly mpp: number | null;
  /** Why picture or scores are missing, or what of them could not be read. */
  readonly problems: readonly string[];
}

/** A level counts as fine enough when it is so near to what was asked for: 0.4996 is meant by 0.5. */
const NEARLY = 0.95;

/** @throws UserError `cannot-write`, `disk-full` */
export async function writeSlide(
  record: SlideRecord,
  run: RunRecord,
  pictures: Pictures,
  files: BundleFiles,
  options: SlideOptions,
  onProgress: (done: SlideProgress) => void,
): Promise<BundledSlide> {
  const { slide, folder, id } = record;
  const begun = files.bytes;
  const at = `api/slides/${id}`;
  const found = await slideView(record, run, pictures, options.showLabels);
  const problems = found.scoresProblem === null ? [] : [`No scores: ${found.scoresProblem}`];
  let view: SlideView = { ...found, picture: null, associated: [] };
  let [tiles, mpp]: [number, number | null] = [0, null];
  if (slide && found.picture) {
    try {
      await pictures.use(slide, async (open) => {
        const finest = finestLevel(open.halving.levels, slide.mpp, options.finestMpp);
        const written = await writePicture(open, finest, at, files, options.signal, onProgress);
        const associated = await writeAssociated(open, found.associated, at, files);
        const { levels } = open.halving;
        const picture = deepZoomPicture(pictureOf(slide, levels), finest);
        const holes = written.holes.length;
        tiles = written.tiles;
        mpp = slide.mpp && slide.mpp * levels[finest]!.scaleX;
        if (holes > 0)
          problems.push(`${holes === 1 ? 'One tile' : `${holes} tiles`} cannot be read and will be hatched.`);
        const facts = view.facts && withHoles(view.facts, written.holes);
        view = { ...view, picture, associated, facts, warnings: [...view.warnings, ...shallow(slide.mpp, mpp)] };
      });
    } catch (error) {
      if (options.signal.aborted || isAboutWriting(error)) throw error;
      await files.drop(at, files.bytes - begun);
      view = { ...view, pictureProblem: messageOf(error) };
    }
  }
  if (view.pictureProblem !== null) problems.unshift(`No picture: ${view.pictureProblem}`);

  for (const column of view.scoreColumns) {
    const scores = await readScores(join(folder!, 'bag.arrow'), column);
    await files.write(`${at}/${scoresFile(column)}`, encodeScores(scores));
  }
  for (const name of ['thumbnail.jpg', 'tissue.geojson']) {
    const bytes = folder && (await readOwnFile(folder, name));
    if (bytes) await files.write(`${at}/${name}`, bytes);
  }
  await files.json(`${at}/slide.json`, withoutPatient(view));
  return { id, tiles, bytes: files.bytes - begun, mpp, problems };
}

export function withoutPatient<T extends SlideEntry>(entry: T): T {
  return { ...entry, patient: null };
}

async function writePicture(
  { halving }: SlidePictures,
  finest: number,
  at: string,
  files: BundleFiles,
  signal: AbortSignal,
  onProgress: (done: SlideProgress) => void,
): Promise<WrittenTiles> {
  const tiles = tileCount(halving.levels.slice(finest));
  let done = 0;
  const written = await writeTiles(halving, finest, files.path(`${at}/deep-zoom_files`), signal, (bytes) => {
    files.bytes += bytes;
    onProgress({ done: ++done, tiles });
  });
  await files.write(`${at}/deep-zoom.dzi`, deepZoomDescriptor(halving.levels[finest]!));
  return written;
}

/** Names of those that could be read: a damaged macro image costs only itself. */
async function writeAssociated({ slide }: SlidePictures, names: readonly string[], at: string, files: BundleFiles) {
  const written: string[] = [];
  for (const name of names) {
    const raster = await slide.readAssociated(name).catch(() => null);
    if (!raster) continue;
    await files.write(`${at}/associated/${name}.jpg`, await rasterJpeg(raster));
    written.push(name);
  }
  return written;
}

/** The first level that is not finer than asked for; without a scale nobody can say, and it is the full resolution. */
function finestLevel(levels: readonly ViewLevel[], mpp: number | null, finestMpp: number | null): number {
  if (mpp === null || finestMpp === null) return 0;
  const found = levels.findIndex(({ scaleX }) => mpp * scaleX >= NEARLY * finestMpp);
  return found < 0 ? levels.length - 1 : found;
}

/** From the finest level that was written to the first that is a single tile: more are no help on a screen. */
function deepZoomPicture(picture: Picture, finest: number): Picture {
  const { levels } = picture;
  const worthIt = ({ width, height, tileWidth }: ViewLevel) => Math.max(width, height) > tileWidth / 2;
  const shown = levels.slice(finest).filter((level, i) => i === 0 || worthIt(level));
  return { ...picture, levels: shown, deepZoomTop: levels.length - 1 - finest };
}

/** What a reader of the copy has to know of its depth. */
function shallow(full: number | null, finest: number | null): string[] {
  if (full === null || finest === null || finest === full) return [];
  const [copy, slide] = [finest, full].map((mpp) => `${Number(mpp.toPrecision(3))} µm`);
  return [`This copy shows the slide down to ${copy} a pixel; the slide itself has ${slide}.`];
}

function withHoles(facts: NonNullable<SlideView['facts']>, holes: WrittenTiles['holes']) {
  return {
    ...facts,
    unreadableTiles: Math.max(facts.unreadableTiles, holes.length),
    holes: [...facts.holes, ...holes],
  };
}

function isAboutWriting(error: unknown): boolean {
  return error instanceof UserError && (error.code === 'disk-full' || error.code === 'cannot-write');
}
