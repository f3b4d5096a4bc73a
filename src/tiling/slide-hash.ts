/** What a slide is recognised by, whatever it is called. */
import { createHash } from 'node:crypto';
import { createReadStream, type Stats } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isWebAddress, openByteSource } from './byte-source.ts';

/** Larger files are not read whole. */
const wholeFileLimit = 1e9;
const endLength = 1024 * 1024;

/**
 * `sha256:<hex>` of the file; for files over 1 GB and for web addresses `head:<hex>`, the sha256 of size, modification time (ms; of
 * files on disk) and the first and last MiB; for a folder the sha256 of what its files are recognised by, and for a
 * file that has its pixels in a folder that of both.
 *
 * @throws UserError if the file cannot be read.
 */
export async function hashSlide(path: string, signal?: AbortSignal): Promise<string> {
  const stats = isWebAddress(path) ? null : await stat(path).catch(() => null);
  if (stats?.isDirectory()) return hashFolder(path, signal);
  const data = stats && (await dataFolderOf(path));
  if (!data) return await hashFile(path, stats, signal);
  const both = `${await hashFile(path, stats, signal)} ${await hashFolder(data, signal)}`;
  return `sha256:${createHash('sha256').update(both).digest('hex')}`;
}

/** MIRAX keeps the pixels of `slide.mrxs` in the folder `slide` beside it; null for other files. */
export async function dataFolderOf(path: string): Promise<string | null> {
  const folder = path.replace(/\.mrxs$/i, '');
  const isFolder = folder !== path && (await stat(folder).catch(() => null))?.isDirectory();
  return isFolder ? folder : null;
}

async function hashFile(path: string, stats: Stats | null, signal?: AbortSignal): Promise<string> {
  const source = await openByteSource(path);
  try {
    const hash = createHash('sha256');
    if (stats && source.length <= wholeFileLimit) {
      for await (const chunk of createReadStream(path, { highWaterMark: endLength, signal })) hash.update(chunk);
      return `sha256:${hash.digest('hex')}`;
    }
    const length = Math.min(endLength, source.length);
    hash.update(stats ? `${source.length} ${Math.trunc(stats.mtimeMs)}\n` : `${source.length}\n`);
    hash.update(await source.read(0, length, signal));
    hash.update(await source.read(source.length - length, length, signal));
    return `head:${hash.digest('hex')}`;
  } finally {
    await source.close();
  }
}

async function hashFolder(folder: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  const entries = await readdir(folder, { withFileTypes: true });
  for (const name of entries
    .filter((entry) => entry.isFile())
    .map((entry) => entry.name)
    .sort()) {
    const { size } = await stat(join(folder, name));
    hash.update(`${name} ${size === 0 ? 'empty' : await hashSlide(join(folder, name), signal)}\n`);
  }
  return `sha256:${hash.digest('hex')}`;
}
