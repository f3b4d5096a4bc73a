/** The files of the built page, found once: a request names one of them or nothing. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { built } from '../built.ts';

export interface PageFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly mime: string;
  /** Changes with the content. */
  readonly tag: string;
}

const MIME: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
};

/** Files by path (`/index.html`, `/assets/…`); empty when the page was not built. */
export async function readPageFiles(): Promise<ReadonlyMap<string, PageFile>> {
  const folder = fileURLToPath(built('./web/', import.meta.url));
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const files = new Map<string, PageFile>();
  for (const entry of entries) {
    const mime = MIME[extname(entry.name)];
    if (!entry.isFile() || !mime) continue;
    const path = join(entry.parentPath, entry.name);
    const bytes = new Uint8Array(await readFile(path));
    const tag = createHash('sha256').update(bytes).digest('base64url').slice(0, 22);
    files.set(`/${relative(folder, path).split(sep).join('/')}`, { bytes, mime, tag });
  }
  return files;
}
