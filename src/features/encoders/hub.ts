/**
 * Files of Hugging Face repositories, kept in a folder: resumed after a break, checked against the sum that the server gives. Of
 * several processes that want the same file one fetches it.
 *
 * Environment: HF_TOKEN for repositories behind a licence, HF_ENDPOINT for another server of the same kind.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { messageOf, UserError } from '../../errors.ts';
import { type Lock, tryLock } from '../../lock.ts';

/** How far a file is. @param total null if the server does not say. */
export type OnDownload = (file: string, bytes: number, total: number | null) => void;

export interface HubOptions {
  /** The folder that files are kept in. */
  readonly cache: string;
  readonly endpoint?: string | undefined;
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds before the first of the further tries. */
  readonly patience?: number;
  readonly onProgress?: OnDownload | undefined;
}

interface RemoteFile {
  readonly url: string;
  readonly bytes: number | null;
  /** What changes when the file does; null if the server does not say. */
  readonly tag: string | null;
}

const ENDPOINT = 'https://huggingface.co';
/** Tries of a download that do not get any further. */
const TRIES = 5;
/** How often a process that waits for another one's download looks. */
const POLL_MS = 500;

/** Where a file is kept, if it is. */
export function keptAt(repository: string, file: string, { cache }: HubOptions): string {
  return join(cache, 'hf', ...repository.split('/'), ...file.split('/'));
}

/**
 * @param repository `owner/name`
 * @param file its path in there
 * @returns the local path; null if the repository has no such file
 * @throws UserError `licence-needed`, `download-failed`, `download-checksum`, `disk-full`, `cannot-write`; the signal's reason
 */
export async function fetchFromHub(repository: string, file: string, options: HubOptions): Promise<string | null> {
  const target = keptAt(repository, file, options);
  const remote = await askFor(repository, file, options);
  if (!remote) return null;
  const tag = remote.tag ?? `${remote.bytes} bytes`;
  if (await isKept(target, tag)) return target;
  try {
    await mkdir(dirname(target), { recursive: true });
    // A part belongs to one version of the file.
    const part = `${target}.${createHash('sha256').update(tag).digest('hex').slice(0, 8)}.part`;
    const onBytes = (bytes: number) => options.onProgress?.(file, bytes, remote.bytes);
    const lock = await waitForTurn(`${target}.lock`, part, onBytes, options.signal);
    try {
      if (await isKept(target, tag)) {
        onBytes((await stat(target)).size);
        return target;
      }
      await download(remote, part, onBytes, options);
      await checkSum(remote, part, file);
      await rm(tagFile(target), { force: true });
      await rename(part, target);
      await writeFile(tagFile(target), tag);
      return target;
    } finally {
      await lock.release();
    }
  } catch (error) {
    throw explained(error, target);
  }
}

const tagFile = (target: string) => `${target}.tag`;

async function isKept(target: string, tag: string): Promise<boolean> {
  const kept = await readFile(tagFile(target), 'utf8').catch(() => null);
  return kept === tag && (await stat(target).catch(() => null)) !== null;
}

/** While another process has the lock, its part tells how far it is. */
async function waitForTurn(
  path: string,
  part: string,
  onBytes: (bytes: number) => void,
  signal?: AbortSignal,
): Promise<Lock> {
  for (;;) {
    const lock = await tryLock(path);
    if (lock) return lock;
    const bytes = await sizeOf(part);
    if (bytes > 0) onBytes(bytes);
    await pause(POLL_MS, signal);
  }
}

const sizeOf = async (path: string) => (await stat(path).catch(() => null))?.size ?? 0;

/** Size and tag of a file; null if there is none. */
async function askFor(repository: string, file: string, options: HubOptions): Promise<RemoteFile | null> {
  const url = `${options.endpoint ?? ENDPOINT}/${repository}/resolve/main/${file.split('/').map(encodeURIComponent).join('/')}`;
  const response = await persistently(url, options, () => askWithin(url, options));
  const { status, headers } = response;
  if (status === 401 || status === 403) throw licenceNeeded(repository, status, options);
  if (status === 404) return null;
  if (status >= 400) throw failed(url, `the server answers ${status}`);
  const length = headers.get('x-linked-size') ?? (status < 300 ? headers.get('content-length') : null);
  const tag = headers.get('x-linked-etag') ?? (status < 300 ? headers.get('etag') : null);
  return { url, bytes: length === null ? null : Number(length), tag: tag?.replace(/^W\/|"/g, '') || null };
}

/**
 * The last answer of the hub itself: to a repository that was renamed, or a small file, it sends within its own server; large
 * files lie elsewhere, and only the answer that sends there has their sum.
 */
async function askWithin(url: string, options: HubOptions): Promise<Response> {
  let at = url;
  for (let hops = 0; ; hops++) {
    const response = await request(at, options, { method: 'HEAD', redirect: 'manual' });
    const { status, headers } = response;
    const to = status >= 300 && status < 400 ? headers.get('location') : null;
    if (to === null || headers.has('x-linked-etag') || hops === 5) return response;
    const next = new URL(to, at);
    if (next.origin !== new URL(at).origin) return response;
    at = next.href;
  }
}

function licenceNeeded(repository: string, status: number, { token }: HubOptions): UserError {
  const page = `${ENDPOINT}/${repository}`;
  const problem = `${repository}: access is refused (${status}); the repository is behind a licence or does not exist.`;
  const hint = token
    ? `Accept the licence at ${page} with the account of HF_TOKEN, and check that the token may read gated repositories.`
    : `Accept the licence at ${page}, make a token at ${ENDPOINT}/settings/tokens and set HF_TOKEN to it.`;
  return new UserError('licence-needed', problem, hint);
}

/** Goes on where `part` ends, as long as each try brings something. */
async function download(
  remote: RemoteFile,
  part: string,
  onBytes: (bytes: number) => void,
  options: HubOptions,
): Promise<void> {
  const { signal, patience = 1000 } = options;
  let fruitless = 0;
  for (;;) {
    const before = await sizeOf(part);
    if (remote.bytes !== null && before >= remote.bytes) return;
    try {
      if (await downloadOnce(remote, part, before, options, onBytes)) return;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof UserError || isLocal(error)) throw error;
      fruitless = (await sizeOf(part)) > before ? 0 : fruitless + 1;
      if (fruitless >= TRIES) throw failed(remote.url, messageOf((error as Error).cause ?? error), error);
      await pause(patience * 2 ** fruitless, signal);
    }
  }
}

/** @returns whether the whole file is there, as far as the server says how long it is. */
async function downloadOnce(
  { url, bytes }: RemoteFile,
  part: string,
  from: number,
  options: HubOptions,
  onBytes: (bytes: number) => void,
): Promise<boolean> {
  const response = await request(url, options, from > 0 ? { headers: { range: `bytes=${from}-` } } : {});
  if (response.status === 416) {
    await response.body?.cancel();
    await rm(part, { force: true });
    return false;
  }
  if (!response.ok) {
    await response.body?.cancel();
    if (response.status >= 500 || response.status === 429) throw new Error(`the server answers ${response.status}`);
    throw failed(url, `the server answers ${response.status}`);
  }
  // A server that does not know ranges sends everything again.
  const start = response.status === 206 ? from : 0;
  const handle = await open(part, start > 0 ? 'a' : 'w');
  let have = start;
  try {
    for await (const chunk of response.body!) {
      // Unlike `write`, it leaves nothing over where the disk takes a piece only.
      await handle.writeFile(chunk);
      have += chunk.length;
      onBytes(have);
    }
  } finally {
    await handle.close();
  }
  if (bytes !== null && have < bytes) throw new Error(`the connection ended at ${have} of ${bytes} bytes`);
  return true;
}

/** The sum of large files is their sha256, that of small ones git's sha1; other tags say nothing about the content. */
async function checkSum({ tag, bytes }: RemoteFile, part: string, file: string): Promise<void> {
  const { size } = await stat(part);
  let found: string | null = null;
  if (tag && /^[0-9a-f]{64}$/.test(tag)) found = await digest('sha256', part, '');
  else if (tag && /^[0-9a-f]{40}$/.test(tag)) found = await digest('sha1', part, `blob ${size}\0`);
  const isLong = bytes !== null && size !== bytes;
  if (!isLong && (found === null || found === tag)) return;
  await rm(part, { force: true });
  const problem = isLong
    ? `${file}: ${size} bytes came instead of ${bytes}.`
    : `${file}: what came does not have the sum that the server promised.`;
  throw new UserError(
    'download-checksum',
    problem,
    'Run it again; if it happens again, a proxy changes what it passes on.',
  );
}

async function digest(kind: 'sha256' | 'sha1', path: string, head: string): Promise<string> {
  const hash = createHash(kind).update(head);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  return hash.digest('hex');
}

/** Repeats what fails for want of a connection or of the server's health. */
async function persistently(url: string, options: HubOptions, ask: () => Promise<Response>): Promise<Response> {
  const { signal, patience = 1000 } = options;
  for (let tries = 1; ; tries++) {
    let problem: unknown;
    try {
      const response = await ask();
      if (response.status < 500 && response.status !== 429) return response;
      problem = new Error(`the server answers ${response.status}`);
    } catch (error) {
      signal?.throwIfAborted();
      problem = error;
    }
    if (tries === 3) throw failed(url, messageOf((problem as Error).cause ?? problem), problem);
    await pause(patience * 2 ** (tries - 1), signal);
  }
}

async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  await wait(milliseconds, undefined, { signal }).catch(() => signal?.throwIfAborted());
}

function request(url: string, { token, signal }: HubOptions, init: RequestInit): Promise<Response> {
  // Sums and lengths are those of the bytes as they are.
  const headers = {
    'accept-encoding': 'identity',
    ...(token && { authorization: `Bearer ${token}` }),
    ...init.headers,
  };
  return fetch(url, { ...init, headers, signal: signal ?? null });
}

function failed(url: string, why: string, cause?: unknown): UserError {
  const hint = 'Check the connection and run it again; what has come is kept.';
  return new UserError('download-failed', `${url}: the download failed (${why}).`, hint, { cause });
}

const isLocal = (error: unknown) => ['ENOSPC', 'EDQUOT', 'EACCES', 'EROFS', 'EPERM'].includes(codeOf(error));
const codeOf = (error: unknown) => String((error as { code?: unknown } | null)?.code ?? '');

function explained(error: unknown, target: string): unknown {
  const code = codeOf(error);
  if (error instanceof UserError || !isLocal(error)) return error;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    const hint =
      'Make room, or set LAMINA_CACHE to a folder on another disk; then run it again, it goes on where it stopped.';
    return new UserError('disk-full', `${target}: the disk is full.`, hint, { cause: error });
  }
  const hint = 'Set LAMINA_CACHE to a folder that you may write to.';
  return new UserError('cannot-write', `${target}: it cannot be written (${code}).`, hint, { cause: error });
}
