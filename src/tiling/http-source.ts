/**
 * A slide on a web server, read by ranges: only the blocks that are asked for are fetched, and the last of them are kept.
 * What fails on the way is tried again, with longer and longer pauses.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { messageOf, UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';

const blockLength = 256 * 1024;
/** 64 MB a slide. */
const blocksKept = 256;
const attempts = 5;
const firstPauseMs = 200;
const answerWithinMs = 30_000;

/** @throws UserError `remote-slide` if the server does not answer, has no such file, or serves no ranges. */
export async function openHttpSource(url: string): Promise<ByteSource> {
  const { length, version } = await askLength(url);
  const blocks = new Map<number, Promise<Uint8Array>>();
  const closed = new AbortController();

  function block(index: number): Promise<Uint8Array> {
    const known = blocks.get(index);
    blocks.delete(index);
    const start = index * blockLength;
    const bytes = known ?? fetchRange(url, start, Math.min(length, start + blockLength), version, closed.signal);
    // The last asked for is the last to go; what failed is asked for again.
    blocks.set(index, bytes);
    bytes.catch(() => blocks.get(index) === bytes && blocks.delete(index));
    if (blocks.size > blocksKept) blocks.delete(blocks.keys().next().value!);
    return bytes;
  }

  return {
    name: url,
    length,
    async read(offset, count, signal) {
      signal?.throwIfAborted();
      if (!(offset >= 0 && count >= 0 && offset + count <= length)) {
        throw new RangeError(`bytes ${offset} to ${offset + count} lie outside the file, which has ${length}`);
      }
      const bytes = new Uint8Array(count);
      const first = Math.floor(offset / blockLength);
      const last = Math.floor((offset + count - 1) / blockLength);
      const pieces = Array.from({ length: last - first + 1 }, async (_, i) => {
        const start = (first + i) * blockLength;
        const content = await block(first + i);
        const from = Math.max(0, offset - start);
        bytes.set(content.subarray(from, offset + count - start), start + from - offset);
      });
      await Promise.all(pieces);
      signal?.throwIfAborted();
      return bytes;
    },
    async close() {
      closed.abort(new Error('the slide was closed'));
      blocks.clear();
    },
  };
}

/** Asks for one byte, because not every server that serves ranges answers HEAD. */
async function askLength(url: string): Promise<{ length: number; version: string | null }> {
  const answer = await fetchWithPatience(url, 'bytes=0-0', null, undefined).catch((error) => {
    throw error instanceof UserError
      ? error
      : remote(url, messageOf(error), 'Check the address and the network.', error);
  });
  await answer.body?.cancel();
  const length = Number(/\/(\d+)$/.exec(answer.headers.get('content-range') ?? '')?.[1]);
  if (answer.status !== 206 || !(length > 0)) {
    throw remote(url, 'its server does not serve parts of a file (range requests)', 'Download the slide first.');
  }
  return { length, version: answer.headers.get('etag') ?? answer.headers.get('last-modified') };
}

async function fetchRange(
  url: string,
  start: number,
  end: number,
  version: string | null,
  signal: AbortSignal,
): Promise<Uint8Array> {
  for (let attempt = 1; ; attempt++) {
    const answer = await fetchWithPatience(url, `bytes=${start}-${end - 1}`, version, signal);
    try {
      if (answer.status !== 206) {
        await answer.body?.cancel();
        throw remote(url, 'it has changed while it was read', 'Open it again.');
      }
      const from = Number(/^bytes (\d+)-/.exec(answer.headers.get('content-range') ?? '')?.[1] ?? start);
      if (from !== start) throw new Error(`bytes from ${from} came where those from ${start} were asked for`);
      const bytes = new Uint8Array(await answer.arrayBuffer());
      if (bytes.length !== end - start) throw new Error(`${bytes.length} of ${end - start} bytes came`);
      return bytes;
    } catch (error) {
      if (error instanceof UserError || attempt >= attempts || signal.aborted) throw error;
      await pause(firstPauseMs * 2 ** (attempt - 1), undefined, { signal });
    }
  }
}

/** An answer that is not the server's passing trouble. */
async function fetchWithPatience(
  url: string,
  range: string,
  version: string | null,
  signal: AbortSignal | undefined,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      const headers = {
        range,
        'accept-encoding': 'identity',
        ...(version?.startsWith('"') ? { 'if-range': version } : {}),
      };
      const timeout = AbortSignal.timeout(answerWithinMs);
      const answer = await fetch(url, { headers, signal: signal ? AbortSignal.any([signal, timeout]) : timeout });
      if (answer.ok) return answer;
      await answer.body?.cancel();
      if (answer.status === 404 || answer.status === 410)
        throw remote(url, 'there is no such file', 'Check the address.');
      const passing = answer.status >= 500 || answer.status === 429 || answer.status === 408;
      if (!passing || attempt >= attempts)
        throw remote(url, `its server answers ${answer.status}`, 'Check the address and your permission to read it.');
    } catch (error) {
      if (error instanceof UserError || signal?.aborted || attempt >= attempts) throw error;
    }
    await pause(firstPauseMs * 2 ** (attempt - 1), undefined, signal ? { signal } : undefined);
  }
}

function remote(url: string, problem: string, hint: string, cause?: unknown): UserError {
  return new UserError('remote-slide', `${url} cannot be read: ${problem}.`, hint, { cause });
}
