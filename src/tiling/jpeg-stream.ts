/**
 * A TIFF tile as a JPEG picture of its own: the tables that the file stores once per page are put back in front,
 * and a tile whose samples are RGB says so with an Adobe marker, because every decoder takes three unmarked
 * components for YCbCr (Aperio scanners write such tiles).
 */

/** APP14 "Adobe", version 100, no flags, transform 0: components are stored as they are. */
const adobeRgb = Uint8Array.of(0xff, 0xee, 0, 14, 0x41, 0x64, 0x6f, 0x62, 0x65, 0, 100, 0, 0, 0, 0, 0);

/** What precedes the tile's own segments, SOI included; made once per page. */
export function jpegPrefix(tables: Uint8Array | null, samplesAreRgb: boolean): Uint8Array {
  const inner = tables && tables.length > 4 ? tables.subarray(2, hasEnd(tables) ? -2 : undefined) : new Uint8Array(0);
  const marker = samplesAreRgb ? adobeRgb : new Uint8Array(0);
  const prefix = new Uint8Array(2 + marker.length + inner.length);
  prefix.set([0xff, 0xd8]);
  prefix.set(marker, 2);
  prefix.set(inner, 2 + marker.length);
  return prefix;
}

/** @throws Error if the tile is no JPEG stream. */
export function spliceJpeg(prefix: Uint8Array, tile: Uint8Array): Uint8Array {
  if (tile[0] !== 0xff || tile[1] !== 0xd8) throw new Error('is not a JPEG picture');
  const whole = new Uint8Array(prefix.length + tile.length - 2);
  whole.set(prefix);
  whole.set(tile.subarray(2), prefix.length);
  return whole;
}

function hasEnd(bytes: Uint8Array): boolean {
  return bytes[bytes.length - 2] === 0xff && bytes[bytes.length - 1] === 0xd9;
}

/** The size in a JPEG's frame header (SOF0, SOF1, SOF2: the kinds that libjpeg-turbo decodes). */
export function jpegSize(bytes: Uint8Array): { width: number; height: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 2; at + 9 < bytes.length && bytes[at] === 0xff; ) {
    const marker = bytes[at + 1]!;
    if (marker >= 0xc0 && marker <= 0xc2) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  throw new Error('is not a JPEG picture');
}
