/** DICOM files (part 10) in explicit VR little endian: the data set before the pixels, and where those lie. */
import { messageOf, UserError } from '../errors.ts';
import type { ByteSource } from './byte-source.ts';

/** `group * 65536 + element`, the tag as DICOM writes it: 0x00480006. */
export type DicomTag = number;

export interface DicomElement {
  readonly vr: string;
  readonly bytes: Uint8Array;
  /** The data sets of a sequence. */
  readonly items: readonly DicomData[];
}

export type DicomData = ReadonlyMap<DicomTag, DicomElement>;

export interface DicomFile {
  readonly data: DicomData;
  readonly transferSyntax: string;
  /** Where the value of PixelData begins, and its length; null if it is encapsulated in fragments. */
  readonly pixels: { readonly offset: number; readonly length: number | null };
}

const firstRead = 256 * 1024;
/** The data set of a slide with a million frames is about this long. */
const maxHeader = 256 * 1024 * 1024;
const maxDepth = 16;
const undefinedLength = 0xffffffff;
const longForms = new Set(['OB', 'OD', 'OF', 'OL', 'OV', 'OW', 'SQ', 'SV', 'UC', 'UN', 'UR', 'UT', 'UV']);

const tags = {
  storageClass: 0x00020002,
  transferSyntax: 0x00020010,
  pixelData: 0x7fe00010,
  item: 0xfffee000,
  itemEnd: 0xfffee00d,
  sequenceEnd: 0xfffee0dd,
};
const readableSyntaxes = new Set([
  '1.2.840.10008.1.2.1',
  '1.2.840.10008.1.2.4.50',
  '1.2.840.10008.1.2.4.90',
  '1.2.840.10008.1.2.4.91',
]);

export function isDicom(head: Uint8Array): boolean {
  return head[128] === 0x44 && head[129] === 0x49 && head[130] === 0x43 && head[131] === 0x4d;
}

/** @throws UserError if the file is damaged, cut off, or of another transfer syntax. */
export async function readDicom(source: ByteSource): Promise<DicomFile> {
  for (let length = Math.min(firstRead, source.length); ; length = Math.min(length * 4, source.length)) {
    const bytes = await source.read(0, length);
    try {
      return parseFile(source.name, bytes);
    } catch (error) {
      if (error instanceof UserError) throw error;
      if (error instanceof RangeError && length === source.length) throw truncated(source, error);
      if (!(error instanceof RangeError) || length >= maxHeader) throw damagedDicom(source.name, error);
    }
  }
}

export function damagedDicom(name: string, error: unknown): UserError {
  return new UserError(
    'damaged-slide',
    `${name} is a damaged DICOM file: ${messageOf(error)}.`,
    'Copy it again from where it came from.',
    { cause: error },
  );
}

function truncated(source: ByteSource, cause: unknown): UserError {
  return new UserError(
    'truncated',
    `${source.name} (${source.length} bytes) is a DICOM file that is cut off or damaged: it ends before its pixels.`,
    'Copy it again from where it came from and compare the sizes.',
    { cause },
  );
}

function parseFile(name: string, bytes: Uint8Array): DicomFile {
  const cursor = { bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), at: 132 };
  const meta = parseDataSet(cursor, Number.POSITIVE_INFINITY, 0, (tag) => tag >>> 16 !== 2);
  const transferSyntax = textOf(meta.get(tags.transferSyntax)) ?? '';
  if (!readableSyntaxes.has(transferSyntax)) {
    throw new UserError(
      'unsupported-dicom',
      `${name} is stored in the DICOM transfer syntax ${transferSyntax || 'of an unknown name'}, which is not read.`,
      'Convert it to JPEG baseline or explicit VR little endian: dcmdjpeg or dcmcjpeg IN OUT.',
    );
  }
  const data = parseDataSet(cursor, Number.POSITIVE_INFINITY, 0, (tag) => tag === tags.pixelData);
  const length = cursor.view.getUint32(cursor.at + 8, true);
  return {
    data,
    transferSyntax,
    pixels: { offset: cursor.at + 12, length: length === undefinedLength ? null : length },
  };
}

/** What kind of object a file says it holds, by its first bytes; null if it does not say. */
export function storageClassOf(head: Uint8Array): string | null {
  const cursor = { bytes: head, view: new DataView(head.buffer, head.byteOffset, head.byteLength), at: 132 };
  const meta = new Map<DicomTag, DicomElement>();
  try {
    parseInto(meta, cursor, Number.POSITIVE_INFINITY, 0, (tag) => tag >>> 16 !== 2);
  } catch {
    // Cut off where the head ends; what came before is there.
  }
  return textOf(meta.get(tags.storageClass));
}

interface Cursor {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at: number;
}

/** Elements until `end`, an end mark, or one that `stop` knows (which is not taken). */
function parseDataSet(cursor: Cursor, end: number, depth: number, stop: (tag: DicomTag) => boolean): DicomData {
  const data = new Map<DicomTag, DicomElement>();
  parseInto(data, cursor, end, depth, stop);
  return data;
}

function parseInto(
  data: Map<DicomTag, DicomElement>,
  cursor: Cursor,
  end: number,
  depth: number,
  stop: (tag: DicomTag) => boolean,
): void {
  if (depth > maxDepth) throw new Error('its sequences are nested too deeply');
  while (cursor.at < end) {
    const tag = tagAt(cursor);
    if (tag === tags.itemEnd) {
      cursor.at += 8;
      break;
    }
    if (stop(tag)) break;
    data.set(tag, parseElement(cursor, depth));
  }
}

function tagAt({ view, at }: Cursor): DicomTag {
  return view.getUint16(at, true) * 65536 + view.getUint16(at + 2, true);
}

function parseElement(cursor: Cursor, depth: number): DicomElement {
  const { bytes, view } = cursor;
  const vr = String.fromCharCode(view.getUint8(cursor.at + 4), view.getUint8(cursor.at + 5));
  if (!/^[A-Z]{2}$/.test(vr)) throw new Error(`there is no value representation at byte ${cursor.at}`);
  const long = longForms.has(vr);
  const length = long ? view.getUint32(cursor.at + 8, true) : view.getUint16(cursor.at + 6, true);
  cursor.at += long ? 12 : 8;
  if (vr === 'SQ') return { vr, bytes: bytes.subarray(0, 0), items: parseItems(cursor, length, depth) };
  if (length === undefinedLength) throw new Error(`an element ${vr} has no length`);
  if (cursor.at + length > bytes.length) throw new RangeError('an element reaches over the end');
  const value = bytes.subarray(cursor.at, cursor.at + length);
  cursor.at += length;
  return { vr, bytes: value, items: [] };
}

function parseItems(cursor: Cursor, length: number, depth: number): DicomData[] {
  const end = length === undefinedLength ? Number.POSITIVE_INFINITY : cursor.at + length;
  const items: DicomData[] = [];
  while (cursor.at < end) {
    const tag = tagAt(cursor);
    const itemLength = cursor.view.getUint32(cursor.at + 4, true);
    cursor.at += 8;
    if (tag === tags.sequenceEnd) break;
    if (tag !== tags.item) throw new Error(`a sequence holds something else than items at byte ${cursor.at - 8}`);
    const itemEnd = itemLength === undefinedLength ? Number.POSITIVE_INFINITY : cursor.at + itemLength;
    items.push(parseDataSet(cursor, itemEnd, depth + 1, () => false));
    if (itemLength !== undefinedLength) cursor.at = itemEnd;
  }
  return items;
}

/** Text without padding; null if the element is missing or empty. */
export function textOf(element: DicomElement | undefined): string | null {
  const text =
    element &&
    Buffer.from(element.bytes)
      .toString('utf8')
      .replace(/[\0 ]+$/, '')
      .trim();
  return text || null;
}

/** The first number of an element, whatever its representation; null if there is none. */
export function numberOf(element: DicomElement | undefined): number | null {
  return numbersOf(element)[0] ?? null;
}

export function numbersOf(element: DicomElement | undefined): number[] {
  if (!element) return [];
  const { vr, bytes } = element;
  const size = { US: 2, SS: 2, UL: 4, SL: 4, FL: 4, FD: 8, OV: 8, UV: 8 }[vr];
  if (size === undefined) return (textOf(element)?.split('\\') ?? []).map(Number).filter(Number.isFinite);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / size) }, (_, i) => {
    const at = i * size;
    if (vr === 'US') return view.getUint16(at, true);
    if (vr === 'SS') return view.getInt16(at, true);
    if (vr === 'UL') return view.getUint32(at, true);
    if (vr === 'SL') return view.getInt32(at, true);
    if (vr === 'FL') return view.getFloat32(at, true);
    if (vr === 'FD') return view.getFloat64(at, true);
    return Number(view.getBigUint64(at, true));
  });
}
