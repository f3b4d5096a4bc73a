/**
 * A run as a folder that any static web server shows: the viewer's page, and as files what its server would answer.
 *
 *     index.html, assets/…                                the page, marked so that it asks for files
 *     api/run.json, api/slides.json                       RunView, SlideEntry[]
 *     api/slides/:id/slide.json                           SlideView
 *     api/slides/:id/deep-zoom.dzi, deep-zoom_files/…     the picture, for other viewers too
 *     api/slides/:id/scores/:column.bin                   as `encodeScores`
 *     api/slides/:id/thumbnail.jpg, tissue.geojson, associated/:name.jpg
 *
 * Folders of slides, patients, and what may bear a name (label and macro images) stay out of it.
 */
import { readdir, rename, rm, rmdir } from 'node:fs/promises';
import { resolve } from 'node:path';
import { cannotWrite, UserError } from '../errors.ts';
import { BundleFiles } from './bundle-files.ts';
import {
  type BundledSlide,
  type SlideOptions,
  type SlideProgress,
  withoutPatient,
  writeSlide,
} from './bundle-slide.ts';
import { SECURITY_HEADERS } from './guard.ts';
import { readPageFiles } from './page-files.ts';
import { Pictures } from './pictures.ts';
import { type RunRecord, readRunFolder, type SlideRecord, withoutFolders } from './run-folder.ts';
import { runView, slideEntry } from './views.ts';

export interface BundleOptions extends SlideOptions {
  /** Ids; all slides of the run when empty. */
  readonly slides: readonly string[];
  readonly onProgress?: (progress: BundleProgress) => void;
}

export interface BundleProgress extends SlideProgress {
  readonly slide: string;
  /** Place of the slide, from 0, among `slides`. */
  readonly index: number;
  readonly slides: number;
  /** Of all slides so far. */
  readonly bytes: number;
}

export interface Bundle {
  readonly slides: readonly BundledSlide[];
  readonly bytes: number;
}

/** Ids as runs make them. Others, which only a foreign failures.csv could hold, would be no addresses. */
const PLAIN_ID = /^[\p{L}\p{N}_-][\p{L}\p{N}._-]*$/u;

/**
 * Writes the bundle under a temporary name beside `out` and renames it at the end: the folder is whole or not there.
 * @throws UserError `not-a-run`, `no-slide`, `odd-name`, `not-empty`, `no-page`, `cannot-write`, `disk-full`
 */
export async function writeBundle(runDir: string, out: string, options: BundleOptions): Promise<Bundle> {
  const run = await readRunFolder(runDir);
  const records = chosen(run, options.slides);
  const folder = resolve(out);
  await requireFree(folder);
  const work = `${folder}.partial`;
  const pictures = new Pictures();
  try {
    await rm(work, { recursive: true, force: true });
    const files = new BundleFiles(work, (text) => withoutFolders(text, run, runDir));
    await writePage(files);
    await files.json('api/run.json', runView(run));
    const entries = records.map((record) => withoutPatient(slideEntry(record)));
    await files.json('api/slides.json', entries);
    const slides: BundledSlide[] = [];
    for (const [index, record] of records.entries()) {
      options.signal.throwIfAborted();
      const place = { slide: record.id, index, slides: records.length };
      const onProgress = (done: SlideProgress) => options.onProgress?.({ ...place, ...done, bytes: files.bytes });
      slides.push(await writeSlide(record, run, pictures, files, options, onProgress));
    }
    await rmdir(folder).catch(() => {});
    await rename(work, folder).catch((error) => {
      throw cannotWrite(folder, error);
    });
    return { slides, bytes: files.bytes };
  } finally {
    await pictures.close();
    await rm(work, { recursive: true, force: true });
  }
}

function chosen(run: RunRecord, wanted: readonly string[]): SlideRecord[] {
  const missing = wanted.find((id) => !run.slides.has(id));
  if (missing !== undefined) {
    throw new UserError('no-slide', `The run has no slide ${missing}.`, 'See the names in summary.csv.');
  }
  const running = wanted.find((id) => run.slides.get(id)!.live);
  if (running !== undefined) {
    throw new UserError('no-slide', `${running} is still being worked on.`, 'Export it when the run has finished it.');
  }
  const all = [...run.slides.values()].filter(({ live }) => live === null);
  const records = wanted.length > 0 ? wanted.map((id) => run.slides.get(id)!) : all;
  const odd = records.find(({ id }) => !PLAIN_ID.test(id));
  if (odd === undefined) return records;
  const problem = `The name of the slide "${odd.id}" cannot be a file's.`;
  throw new UserError('odd-name', problem, 'Choose the others with --slide, or rename it in failures.csv.');
}

async function requireFree(folder: string): Promise<void> {
  const inside = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw cannotWrite(folder, error);
  });
  if (inside.length === 0) return;
  throw new UserError('not-empty', `${folder} is not empty.`, 'Name a new folder, or delete this one first.');
}

/** The page with a mark that it stands on files, and the policy that the server would send with it. */
async function writePage(files: BundleFiles): Promise<void> {
  const page = await readPageFiles();
  if (page.size === 0) throw new UserError('no-page', 'The page of the viewer is not built.', 'Run npm run build.');
  // Who may frame a page is nothing that the page itself can say.
  const policy = SECURITY_HEADERS['content-security-policy']!.replace(/; frame-ancestors[^;]*/, '');
  for (const [path, { bytes }] of page) {
    if (path !== '/index.html') await files.write(path.slice(1), bytes);
    else {
      const marked = new TextDecoder()
        .decode(bytes)
        .replace('<html ', '<html data-bundle ')
        .replace('<head>', `<head>\n    <meta http-equiv="content-security-policy" content="${policy}" />`);
      await files.write('index.html', marked);
    }
  }
}
