/** PackBits run lengths: n in 0..127 copies n + 1 bytes, n in 129..255 repeats one byte 257 - n times. */
export function decodePackBits(bytes: Uint8Array, limit: number): Uint8Array {
  const output = new Uint8Array(limit);
  let written = 0;
  for (let position = 0; position < bytes.length && written < limit; ) {
    const n = bytes[position++]!;
    if (n < 128) {
      const run = bytes.subarray(position, position + Math.min(n + 1, limit - written));
      output.set(run, written);
      written += run.length;
      position += n + 1;
    } else if (n > 128 && position < bytes.length) {
      const end = Math.min(limit, written + 257 - n);
      output.fill(bytes[position++]!, written, end);
      written = end;
    }
  }
  return output.subarray(0, written);
}
