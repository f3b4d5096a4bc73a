/** What the person names on the command line, as a list of slides: files, folders, patterns, addresses and manifests. */
import { createHash } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { dirname, extname, isAbsolute, resolve } from 'node:path';
import { type CsvRow, parseTable } from '../csv.ts';
import { messageOf, UserError } from '../errors.ts';
import { slideName } from '../slide-name.ts';
import { deepZoomOfFolder } from '../tiling/deep-zoom.ts';
import { dicomSeriesIn } from '../tiling/dicom.ts';
import type { Mpp } from '../units.ts';
import { findFiles, isPattern } from './glob.ts';

export interface SlideInput {
  /** Unique among the inputs, safe as the name of a folder. */
  readonly id: string;
  /** Absolute path or URL. */
  readonly source: string;
  readonly patient: string | null;
  readonly label: string | null;
  readonly split: string | null;
  readonly site: string | null;
  /** Micrometres per level-0 pixel as the manifest gives it. */
  readonly mpp: Mpp | null;
}

/** An input before it has an id. */
type Named = Omit<SlideInput, 'id'>;

/** Taken from a folder by their names, DICOM by its first bytes; whatever else is named outright is tried as a slide. */
const FILES = ['svs', 'tif', 'tiff', 'ndpi', 'scn', 'bif', 'mrxs', 'vms', 'vmu', 'svslide', 'czi', 'dzi'];

/**
 * Finds the slides. One file named twice is one slide. A file that is not there stays in the list: it fails in its turn.
 *
 * @throws UserError `nothing-matched`, `bad-manifest`
 */
export async function findSlides(names: readonly string[]): Promise<SlideInput[]> {
  const found = (await Promise.all(names.map(expand))).flat();
  if (found.length === 0) {
    const problem = `${names.join(', ')}: no slide found.`;
    throw new UserError(
      'nothing-matched',
      problem,
      `Name slide files, or a folder that has some (${[...FILES, 'dcm'].join(', ')}).`,
    );
  }
  return withIds([...new Map(found.map((input) => [input.source, input])).values()]);
}

async function expand(name: string): Promise<Named[]> {
  if (isUrl(name)) return [plain(name)];
  const status = await stat(name).catch(() => null);
  if (status?.isDirectory()) return await inFolder(name);
  if (status && extname(name).toLowerCase() === '.csv') return await inManifest(name);
  if (!status && isPattern(name)) return (await findFiles(name)).map((path) => plain(resolve(path)));
  return [plain(resolve(name))];
}

/**
 * The slides of a folder: files by their names, Deep Zoom and DICOM folders in it, and itself if it is one. Other folders in it are
 * not looked into.
 */
async function inFolder(folder: string): Promise<Named[]> {
  const descriptor = folder.endsWith('_files') ? await deepZoomOfFolder(folder) : null;
  if (descriptor) return [plain(descriptor)];
  const entries = await readdir(folder, { withFileTypes: true });
  const files = entries
    .filter((entry) => !entry.isDirectory() && FILES.includes(extname(entry.name).slice(1).toLowerCase()))
    .map((entry) => resolve(folder, entry.name));
  const folders = entries.filter((entry) => entry.isDirectory() && !/^\.|_files$/.test(entry.name));
  const deeper = folders.map(({ name }) => resolve(folder, name));
  const dicom = (
    await Promise.all([dicomIn(resolve(folder)), ...deeper.map((path) => dicomIn(path).catch(() => []))])
  ).flat();
  const zoomed = (await Promise.all(deeper.map((path) => deepZoomOfFolder(path).catch(() => null)))).filter(
    (path) => path !== null,
  );
  return [...files, ...zoomed, ...dicom]
    .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }))
    .map((source) => plain(source));
}

/** A folder of one series is a slide; of several, each file that is a series alone, and the folder, which then says what is wrong. */
async function dicomIn(folder: string): Promise<string[]> {
  const series = await dicomSeriesIn(folder);
  const single = series.filter((files) => files.length === 1).flat();
  return single.length === series.length ? single : [...(series.length > 1 ? single : []), folder];
}

async function inManifest(path: string): Promise<Named[]> {
  const text = await readFile(path, 'utf8').catch((error) => {
    throw new UserError('bad-manifest', `${path}: cannot be read (${messageOf(error)}).`, 'Check the file.');
  });
  const { columns, rows } = parseTable(path, text);
  if (!columns.includes('slide')) {
    const problem = `${path}: the manifest has no column named slide (found: ${columns.join(', ') || 'none'}).`;
    throw new UserError(
      'bad-manifest',
      problem,
      'Let its first line be slide,patient,label,mpp,split,site; only slide is needed.',
    );
  }
  return rows.map((row, i) => manifestRow(path, row, i + 1));
}

/** Slides are relative to the manifest, so that both may move together. */
function manifestRow(manifest: string, row: CsvRow, number: number): Named {
  const { slide = '', patient, label, split, site, mpp } = row;
  if (!slide)
    throw new UserError('bad-manifest', `${manifest}: row ${number} names no slide.`, 'Fill it in, or delete the row.');
  const scale = mpp ? Number(mpp) : null;
  if (scale !== null && !(scale > 0)) {
    const problem = `${manifest}: row ${number} gives ${slide} the scale ${mpp}.`;
    throw new UserError('bad-manifest', problem, 'Give micrometres per pixel, for example 0.25, or leave it empty.');
  }
  const source = isUrl(slide) ? slide : isAbsolute(slide) ? resolve(slide) : resolve(dirname(manifest), slide);
  return {
    source,
    patient: patient || null,
    label: label || null,
    split: split || null,
    site: site || null,
    mpp: scale,
  };
}

function plain(source: string): Named {
  return { source, patient: null, label: null, split: null, site: null, mpp: null };
}

/** The file's name; where two slides share it, some digits of the hash of the whole path tell them apart. */
function withIds(inputs: readonly Named[]): SlideInput[] {
  const names = inputs.map(({ source }) => nameOf(source));
  return inputs.map((input, i) => {
    const shared = names.filter((name) => name.toLowerCase() === names[i]!.toLowerCase()).length > 1;
    return { id: shared ? `${names[i]}-${digest(input.source)}` : names[i]!, ...input };
  });
}

function nameOf(source: string): string {
  const path = isUrl(source) ? decodeURIComponent(new URL(source).pathname) : source;
  return slideName(path) || 'slide';
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 8);
}

function isUrl(name: string): boolean {
  return /^https?:\/\//i.test(name);
}
