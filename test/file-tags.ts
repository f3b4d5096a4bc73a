/** What TIFF and DICOM files say of themselves, by a few lines that share nothing with the program's readers. */
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

/** Tags of one page, by number. */
export type Tags = ReadonlyMap<number, readonly number[] | string>;

/** Bytes of a value of each type of TIFF 6.0 and BigTIFF. */
const SIZES: Readonly<Record<number, number>> = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 9: 4, 11: 4, 13: 4, 16: 8, 18: 8 };
const [ASCII, RATIONAL, FLOAT] = [2, 5, 11];

/** Pages of a TIFF or BigTIFF file in the order of their chain; of every tag the first thousand values. */
export function readTiffPages(path: string): Tags[] {
  const file = openSync(path, 'r');
  const at = (from: number, length: number) => {
    const bytes = Buffer.alloc(length);
    readSync(file, bytes, 0, length, from);
    return bytes;
  };
  try {
    const little = at(0, 2).toString() === 'II';
    const big = at(2, 2)[little ? 0 : 1] === 43;
    const number = (bytes: Buffer, from: number, size: number) => {
      const own = Buffer.from(bytes.subarray(from, from + size));
      return own.reduceRight((sum, _, i) => sum * 256 + own[little ? i : size - 1 - i]!, 0);
    };
    const word = big ? 8 : 4;
    const pages: Tags[] = [];
    for (let from = number(at(big ? 8 : 4, word), 0, word); from !== 0; ) {
      const [head, entry] = big ? [8, 20] : [2, 12];
      const count = number(at(from, head), 0, head);
      const directory = at(from + head, count * entry + word);
      const tags = new Map<number, readonly number[] | string>();
      for (let i = 0; i < count; i++) {
        const [tag, type] = [0, 2].map((offset) => number(directory, i * entry + offset, 2)) as [number, number];
        const size = SIZES[type];
        if (size === undefined) continue;
        const values = number(directory, i * entry + 4, word);
        const length = size * (type === ASCII ? values : Math.min(values, 1000));
        const place = i * entry + 4 + word;
        const bytes =
          length <= word ? directory.subarray(place, place + length) : at(number(directory, place, word), length);
        const value = (at: number) =>
          type === RATIONAL
            ? number(bytes, at, 4) / number(bytes, at + 4, 4)
            : type === FLOAT
              ? bytes[little ? 'readFloatLE' : 'readFloatBE'](at)
              : number(bytes, at, size);
        const text = () => bytes.toString('latin1').replace(/\0.*$/s, '');
        tags.set(tag, type === ASCII ? text() : Array.from({ length: length / size }, (_, k) => value(k * size)));
      }
      pages.push(tags);
      from = number(directory, count * entry, word);
    }
    return pages;
  } finally {
    closeSync(file);
  }
}

/** The first value of a page's tag. */
export function tagValue(tags: Tags, tag: number): number {
  return (tags.get(tag) as readonly number[])[0]!;
}

/** What Aperio's description says: um/px and objective, null where it is silent. */
export function aperioFacts(tags: Tags): { mpp: number | null; objectivePower: number | null } {
  const value = (name: string) => {
    const found = new RegExp(`\\|\\s*${name}\\s*=\\s*([\\d.]+)`).exec(String(tags.get(270)));
    return found ? Number(found[1]) : null;
  };
  return { mpp: value('MPP'), objectivePower: value('AppMag') };
}

/** The first element of a DICOM file with a tag and a value representation of numbers (explicit, little-endian). */
export function dicomNumbers(path: string, group: number, element: number, vr: 'US' | 'UL' | 'DS'): number[] {
  const bytes = readFileSync(path);
  const head = Buffer.alloc(6);
  head.writeUInt16LE(group, 0);
  head.writeUInt16LE(element, 2);
  head.write(vr, 4);
  const at = bytes.indexOf(head);
  if (at < 0) return [];
  const value = bytes.subarray(at + 8, at + 8 + bytes.readUInt16LE(at + 6));
  if (vr === 'DS') return value.toString('latin1').split('\\').map(Number);
  return [vr === 'US' ? value.readUInt16LE(0) : value.readUInt32LE(0)];
}
