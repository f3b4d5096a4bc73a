/**
 * Reads of a file joined: tiles that are asked for one after the other mostly lie one after the other, and one large read costs little
 * more than a small one. Whoever reads here and there pays for nothing but what he asked for.
 */

type Read = (offset: number, length: number) => Promise<Uint8Array<ArrayBuffer>>;

/** Bytes that were read, or are being read. */
interface Stretch {
  readonly offset: number;
  readonly end: number;
  readonly bytes: Promise<Uint8Array>;
}

/** Bytes read at once when reading goes on where it ended. */
const aheadBytes = 256 * 1024;
/** So far from where it ended, tables or tiles of no interest lie between. */
const gapBytes = 32 * 1024;
/** As many places of a file may be read in turn. */
const stretchesKept = 8;

/** @param length of the file. @returns `read`, which gives each caller a buffer of his own. */
export function createReadAhead(read: Read, length: number): Read {
  const stretches: Stretch[] = [];

  function stretchWith(offset: number, end: number): Stretch {
    const at = stretches.findIndex((stretch) => stretch.offset <= offset && end <= stretch.end);
    const before = stretches.findIndex((stretch) => offset >= stretch.offset && offset - stretch.end <= gapBytes);
    const known = at >= 0 ? stretches.splice(at, 1)[0]! : null;
    const found = known ?? fetch(offset, before >= 0 ? Math.min(length, Math.max(end, offset + aheadBytes)) : end);
    stretches.unshift(found);
    if (stretches.length > stretchesKept) stretches.pop();
    return found;
  }

  function fetch(offset: number, end: number): Stretch {
    const stretch = { offset, end, bytes: read(offset, end - offset) };
    // What failed is asked for again.
    stretch.bytes.catch(() => {
      const at = stretches.indexOf(stretch);
      if (at >= 0) stretches.splice(at, 1);
    });
    return stretch;
  }

  return async (offset, count) => {
    if (count > aheadBytes) return read(offset, count);
    const stretch = stretchWith(offset, offset + count);
    const bytes = await stretch.bytes.catch(() => null);
    // What lies ahead may be unreadable where this is not; if this is, it says why.
    if (bytes === null) return read(offset, count);
    return bytes.slice(offset - stretch.offset, offset - stretch.offset + count) as Uint8Array<ArrayBuffer>;
  };
}
