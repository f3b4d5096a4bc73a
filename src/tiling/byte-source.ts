/** A file as numbered bytes: the only way this folder touches a disk or a web server. */
import { type FileHandle, open, stat } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { openHttpSource } from './http-source.ts';
import { createReadAhead } from './read-ahead.ts';

export interface ByteSource {
  /** Path or URL, for messages. */
  readonly name: string;
  readonly length: number;
  /**
   * The bytes [offset, offset + length), in a buffer of their own.
   * @throws RangeError if they reach over the end.
   */
  read(offset: number, length: number, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>>;
  close(): Promise<void>;
}

export function isWebAddress(name: string): boolean {
  return /^https?:\/\//i.test(name);
}

/** @throws UserError if the file is missing, a folder, empty or not readable. */
export async function openByteSource(name: string): Promise<ByteSource> {
  if (isWebAddress(name)) return openHttpSource(name);
  let file: FileHandle;
  let length: number;
  try {
    const stats = await stat(name);
    if (stats.isDirectory()) {
      throw new UserError('is-a-folder', `${name} is a folder, not a slide.`, 'Name a slide file in it.');
    }
    length = stats.size;
    file = await open(name, 'r');
  } catch (error) {
    throw readableFileError(name, error);
  }
  if (length === 0) {
    await file.close();
    throw new UserError('empty-file', `${name} is empty (0 bytes).`, 'Copy the slide again from where it came from.');
  }
  const read = createReadAhead((offset, count) => readExactly(file, offset, count, length), length);
  return {
    name,
    length,
    async read(offset, count, signal) {
      signal?.throwIfAborted();
      if (!(offset >= 0 && count >= 0 && offset + count <= length)) {
        throw new RangeError(`bytes ${offset} to ${offset + count} lie outside the file, which has ${length}`);
      }
      return read(offset, count);
    },
    close: () => file.close(),
  };
}

async function readExactly(file: FileHandle, offset: number, count: number, length: number) {
  const bytes = new Uint8Array(count);
  for (let done = 0; done < count; ) {
    const { bytesRead } = await file.read(bytes, done, count - done, offset + done);
    if (bytesRead === 0) throw new RangeError(`the file ends at byte ${offset + done} and had ${length} when opened`);
    done += bytesRead;
  }
  return bytes;
}

function readableFileError(name: string, error: unknown): unknown {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') {
    return new UserError('missing-file', `${name} does not exist.`, 'Check the path.', { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM') {
    return new UserError('no-permission', `${name} may not be read.`, 'Give this user permission to read it.', {
      cause: error,
    });
  }
  return error;
}
