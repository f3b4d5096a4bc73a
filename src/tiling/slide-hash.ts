/** What a slide is recognised by, whatever it is called. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { openByteSource } from './byte-source.ts';

/** Larger files are not read whole. */
const wholeFileLimit = 1e9;
const endLength = 1024 * 1024;

/**
 * `sha256:<hex>` of the file; for files over 1 GB `head:<hex>`, the sha256 of size, modification time (ms) and the first and last MiB.
 *
 * @throws UserError if the file cannot be read.
 */
export async function hashSlide(path: string, signal?: AbortSignal): Promise<string> {
  const source = await openByteSource(path);
  try {
    const hash = createHash('sha256');
    if (source.length <= wholeFileLimit) {
      for await (const chunk of createReadStream(path, { highWaterMark: endLength, signal })) hash.update(chunk);
      return `sha256:${hash.digest('hex')}`;
    }
    const { mtimeMs } = await stat(path);
    hash.update(`${source.length} ${Math.trunc(mtimeMs)}\n`);
    hash.update(await source.read(0, endLength, signal));
    hash.update(await source.read(source.length - endLength, endLength, signal));
    return `head:${hash.digest('hex')}`;
  } finally {
    await source.close();
  }
}
