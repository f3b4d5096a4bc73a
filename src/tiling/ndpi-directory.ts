/**
 * The directories of a Hamamatsu NDPI file: classic TIFF, except that in files of over 4 GB the place of each next directory has eight
 * bytes, and behind the entries of a directory lie the upper halves of their values.
 */
import type { ByteSource } from './byte-source.ts';

/** Numbers or text by tag. */
export type NdpiPage = ReadonlyMap<number, readonly number[] | string>;

const formatFlag = 65420;
const maxPages = 1000;
const maxEntries = 1000;
/** Restart markers of the largest level, and the scanner's text. */
const maxValueBytes = 256 * 1024 * 1024;
const typeSizes: Readonly<Record<number, number>> = {
  1: 1,
  2: 1,
  3: 2,
  4: 4,
  5: 8,
  6: 1,
  7: 1,
  8: 2,
  9: 4,
  10: 8,
  11: 4,
  12: 8,
};

/** Whether a file that begins like this is a NDPI file. */
export async function isNdpi(source: ByteSource, head: Uint8Array): Promise<boolean> {
  if (!(head[0] === 0x49 && head[1] === 0x49 && head[2] === 42 && head[3] === 0) || source.length < 16) return false;
  try {
    const { entries } = await readEntries(source, firstDirectory(source, head));
    return entries.some(({ tag }) => tag === formatFlag);
  } catch {
    return false;
  }
}

/** @throws Error or RangeError if the directories are damaged. */
export async function readNdpiPages(source: ByteSource, head: Uint8Array): Promise<NdpiPage[]> {
  const pages: NdpiPage[] = [];
  const seen = new Set<number>();
  for (let at = firstDirectory(source, head); at !== 0; ) {
    if (seen.has(at)) throw new Error('the list of its pages runs in a circle');
    if (pages.length >= maxPages) throw new Error(`it has more than ${maxPages} pages`);
    seen.add(at);
    const { entries, next } = await readEntries(source, at);
    pages.push(
      new Map(await Promise.all(entries.map(async (entry) => [entry.tag, await readValue(source, entry)] as const))),
    );
    at = next;
  }
  return pages;
}

interface Entry {
  readonly tag: number;
  readonly type: number;
  readonly count: number;
  /** The four bytes of the value, or of its place. */
  readonly value: Uint8Array;
  readonly place: number;
}

function isLarge(source: ByteSource): boolean {
  return source.length >= 2 ** 32;
}

function firstDirectory(source: ByteSource, head: Uint8Array): number {
  const view = new DataView(head.buffer, head.byteOffset);
  return isLarge(source) ? Number(view.getBigUint64(4, true)) : view.getUint32(4, true);
}

async function readEntries(source: ByteSource, at: number): Promise<{ entries: Entry[]; next: number }> {
  const count = new DataView((await source.read(at, 2)).buffer).getUint16(0, true);
  if (count === 0 || count > maxEntries) throw new Error(`a page has ${count} entries`);
  const large = isLarge(source);
  const bytes = await source.read(at + 2, count * 12 + (large ? 8 + count * 4 : 4));
  const view = new DataView(bytes.buffer);
  const end = count * 12;
  const entries = Array.from({ length: count }, (_, i) => {
    const entry = i * 12;
    const upper = large ? view.getUint32(end + 8 + i * 4, true) : 0;
    return {
      tag: view.getUint16(entry, true),
      type: view.getUint16(entry + 2, true),
      count: view.getUint32(entry + 4, true),
      value: bytes.subarray(entry + 8, entry + 12),
      place: view.getUint32(entry + 8, true) + upper * 2 ** 32,
    };
  });
  return { entries, next: large ? Number(view.getBigUint64(end, true)) : view.getUint32(end, true) };
}

async function readValue(source: ByteSource, { type, count, value, place }: Entry): Promise<number[] | string> {
  const size = (typeSizes[type] ?? 1) * count;
  if (size > maxValueBytes) throw new RangeError(`a value of ${size} bytes`);
  // A single number may be larger than its four bytes.
  if (type === 4 && count === 1) return [place];
  const bytes = size <= 4 ? value.subarray(0, size) : await source.read(place, size);
  if (type === 2) return Buffer.from(bytes).toString('latin1').replace(/\0.*$/s, '');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: count }, (_, i) => numberAt(view, type, i));
}

function numberAt(view: DataView, type: number, i: number): number {
  switch (type) {
    case 3:
      return view.getUint16(i * 2, true);
    case 4:
      return view.getUint32(i * 4, true);
    case 5:
      return view.getUint32(i * 8, true) / view.getUint32(i * 8 + 4, true);
    case 8:
      return view.getInt16(i * 2, true);
    case 9:
      return view.getInt32(i * 4, true);
    case 10:
      return view.getInt32(i * 8, true) / view.getInt32(i * 8 + 4, true);
    case 11:
      return view.getFloat32(i * 4, true);
    case 12:
      return view.getFloat64(i * 8, true);
    default:
      return view.getUint8(i);
  }
}
