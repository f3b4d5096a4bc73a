/**
 * LZW as TIFF has it: codes of 9 to 12 bits, most significant bit first, 256 clears the table, 257 ends,
 * and the width grows one code early (TIFF 6.0, section 13).
 *
 * @param limit bytes to stop at: a tile's size, so that a hostile stream cannot grow without end.
 */
export function decodeLzw(bytes: Uint8Array, limit: number): Uint8Array {
  const output = new Uint8Array(limit);
  // Entry n is the byte `suffix[n]` after the string of entry `prefix[n]`.
  const prefix = new Uint16Array(4096);
  const suffix = new Uint8Array(4096);
  const lengths = new Uint16Array(4096);
  for (let i = 0; i < 256; i++) {
    suffix[i] = i;
    lengths[i] = 1;
  }
  let next = 258;
  let width = 9;
  let previous = -1;
  let bits = 0;
  let bitCount = 0;
  let written = 0;
  for (let position = 0; written < limit; ) {
    while (bitCount < width && position < bytes.length) {
      bits = ((bits << 8) | bytes[position++]!) & 0xffffff;
      bitCount += 8;
    }
    if (bitCount < width) break;
    const code = (bits >> (bitCount - width)) & ((1 << width) - 1);
    bitCount -= width;
    if (code === 257) break;
    if (code === 256) {
      next = 258;
      width = 9;
      previous = -1;
      continue;
    }
    if (code > next || (previous < 0 && code > 255)) throw new Error(`LZW code ${code} is not in the table yet`);
    // A code that is not there yet is the previous string followed by its own first byte.
    const known = code < next;
    let entry = known ? code : previous;
    const length = lengths[entry]!;
    const start = written;
    for (let i = start + length - 1; i >= start; i--) {
      if (i < limit) output[i] = suffix[entry]!;
      entry = prefix[entry]!;
    }
    written = Math.min(limit, start + length);
    const first = output[start]!;
    if (!known && written < limit) output[written++] = first;
    if (previous >= 0 && next < 4096) {
      prefix[next] = previous;
      suffix[next] = first;
      lengths[next] = lengths[previous]! + 1;
      next++;
    }
    if (next + 1 >= 1 << width && width < 12) width++;
    previous = code;
  }
  return output.subarray(0, written);
}
