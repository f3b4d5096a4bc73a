/** The frames of a DICOM file as bytes: slices of plain pixels, or the fragments of encapsulated ones. */
import type { ByteSource } from './byte-source.ts';
import { type DicomFile, numbersOf } from './dicom-data.ts';

export interface DicomFrames {
  /** Where the last frame begins that the file tells without a search; for the check that the file is whole. */
  readonly lastKnownStart: number;
  read(frame: number, signal?: AbortSignal): Promise<Uint8Array>;
}

const itemTag = 0xfffee000;
const sequenceEndTag = 0xfffee0dd;
const extendedOffsets = 0x7fe00001;
const extendedLengths = 0x7fe00002;

/** @param frameBytes length of a frame of plain pixels @throws Error if the offset table is damaged */
export async function openFrames(
  source: ByteSource,
  file: DicomFile,
  count: number,
  frameBytes: number,
): Promise<DicomFrames> {
  const { offset, length } = file.pixels;
  if (length !== null) {
    return {
      lastKnownStart: offset + (count - 1) * frameBytes,
      read: (frame, signal) => source.read(offset + frame * frameBytes, frameBytes, signal),
    };
  }
  const table = await itemAt(source, offset);
  const first = table.offset + table.length;
  const offsets = numbersOf(file.data.get(extendedOffsets));
  const lengths = numbersOf(file.data.get(extendedLengths));
  if (offsets.length === count && lengths.length === count) {
    return {
      lastKnownStart: first + offsets[count - 1]!,
      read: (frame, signal) => source.read(first + offsets[frame]! + 8, lengths[frame]!, signal),
    };
  }
  const starts = uint32s(await source.read(table.offset, table.length));
  if (starts.length === count && starts.every((start, i) => i === 0 || start > starts[i - 1]!)) {
    return {
      lastKnownStart: first + starts[count - 1]!,
      async read(frame, signal) {
        const start = first + starts[frame]!;
        if (frame === count - 1)
          return readParts(source, await fragmentsFrom(source, start, maxFragmentsPerFrame), signal);
        return withoutItemHeads(await source.read(start, first + starts[frame + 1]! - start, signal));
      },
    };
  }
  // The order of the fragments is all there is. They are searched once, when the first tile is wanted.
  let frames: Promise<Part[][]> | undefined;
  return {
    lastKnownStart: first,
    async read(frame, signal) {
      frames ??= searchFrames(source, first, count);
      const parts = (await frames)[frame];
      if (parts === undefined) throw new Error(`frame ${frame + 1} is missing`);
      return readParts(source, parts, signal);
    },
  };
}

interface Part {
  readonly offset: number;
  readonly length: number;
}

const maxFragmentsPerFrame = 4096;

/** Each fragment is a frame; where there are more, a frame begins with each that starts like a picture. */
async function searchFrames(source: ByteSource, first: number, count: number): Promise<Part[][]> {
  const fragments = await fragmentsFrom(source, first, count * 64 + maxFragmentsPerFrame);
  if (count === 1) return [fragments];
  if (fragments.length <= count) return fragments.map((fragment) => [fragment]);
  const frames: Part[][] = [];
  for (const fragment of fragments) {
    if (frames.length === 0 || (await startsPicture(source, fragment.offset))) frames.push([]);
    frames.at(-1)!.push(fragment);
  }
  return frames;
}

async function fragmentsFrom(source: ByteSource, start: number, most: number): Promise<Part[]> {
  const fragments: Part[] = [];
  for (let at = start; at + 8 <= source.length; ) {
    const { offset, length, isEnd } = await itemAt(source, at);
    if (isEnd) break;
    if (fragments.length === most) throw new Error(`its pixels are in more than ${most} fragments`);
    fragments.push({ offset, length });
    at = offset + length;
  }
  return fragments;
}

async function itemAt(source: ByteSource, at: number): Promise<Part & { isEnd: boolean }> {
  const head = await source.read(at, 8);
  const view = new DataView(head.buffer);
  const tag = view.getUint16(0, true) * 65536 + view.getUint16(2, true);
  if (tag !== itemTag && tag !== sequenceEndTag) throw new Error(`there is no fragment of pixels at byte ${at}`);
  return { offset: at + 8, length: view.getUint32(4, true), isEnd: tag === sequenceEndTag };
}

async function readParts(source: ByteSource, parts: readonly Part[], signal?: AbortSignal): Promise<Uint8Array> {
  if (parts.length === 1) return source.read(parts[0]!.offset, parts[0]!.length, signal);
  return Buffer.concat(await Promise.all(parts.map(({ offset, length }) => source.read(offset, length, signal))));
}

/** The fragments between two frames' starts as one. */
function withoutItemHeads(span: Uint8Array): Uint8Array {
  const view = new DataView(span.buffer, span.byteOffset, span.byteLength);
  const parts: Uint8Array[] = [];
  for (let at = 0; at + 8 <= span.length; ) {
    const end = at + 8 + view.getUint32(at + 4, true);
    if (view.getUint16(at, true) * 65536 + view.getUint16(at + 2, true) !== itemTag || end > span.length) {
      throw new Error('is not where the offset table says');
    }
    parts.push(span.subarray(at + 8, end));
    at = end;
  }
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
}

/** A JPEG or a JPEG 2000 codestream. */
async function startsPicture(source: ByteSource, at: number): Promise<boolean> {
  const [a, b] = await source.read(at, 2);
  return a === 0xff && (b === 0xd8 || b === 0x4f);
}

function uint32s(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: Math.floor(bytes.length / 4) }, (_, i) => view.getUint32(i * 4, true));
}
