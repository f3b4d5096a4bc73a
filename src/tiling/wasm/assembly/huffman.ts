/**
 * Huffman codes of baseline JPEG (ITU T.81, annexes C and F).
 *
 * A table answers most codes with one look at the next 10 bits: the run of zeros, the value and how many bits both took.
 */

const lookBits: u32 = 10;
const lookBytes: usize = (1 << lookBits) << 2;
// Beside the look-up: largest code of each length, where its values begin, the values, and the segment it was made of.
const largest: usize = lookBytes;
const places: usize = largest + 18 * 4;
const values: usize = places + 18 * 4;
const segment: usize = values + 256;
const slotBytes: usize = segment + 16 + 256 + 8;

/** Four tables for DC, four for AC. */
const slots = memory.data(8 * 4800, 16);

/** The end of a block, as a run that leads out of every block. */
export const blockEnd: i32 = 128;

export function tableOf(kind: i32, id: i32): usize {
  return slots + <usize>(kind * 4 + id) * slotBytes;
}

/** Whether a table was given since `forget`. */
let given: i32 = 0;

export function forgetTables(): void {
  given = 0;
}

export function isGiven(kind: i32, id: i32): bool {
  return (given & (1 << (kind * 4 + id))) != 0;
}

/** Makes a table of a segment (16 counts, then values); kept when it is the one that is there. @returns bytes of the segment, 0: damaged. */
export function defineTable(kind: i32, id: i32, at: usize, end: usize): usize {
  if (at + 16 > end) return 0;
  let count: usize = 0;
  for (let i: usize = 0; i < 16; i++) count += load<u8>(at + i);
  const length: usize = 16 + count;
  if (count > 256 || at + length > end) return 0;
  const table = tableOf(kind, id);
  const mark = 1 << (kind * 4 + id);
  given |= mark;
  if (memory.compare(table + segment, at, length) == 0) return length;
  store<u8>(table + segment, 255); // not whole until the end
  if (!build(table, at, kind)) return 0;
  memory.copy(table + segment, at, length);
  return length;
}

function build(table: usize, at: usize, kind: i32): bool {
  memory.fill(table, 0, lookBytes);
  let code: i32 = 0;
  let index: i32 = 0;
  for (let bits: i32 = 1; bits <= 16; bits++) {
    const count = <i32>load<u8>(at + bits - 1);
    store<i32>(table + places + ((<usize>bits) << 2), index - code);
    for (let i = 0; i < count; i++) {
      const symbol = <i32>load<u8>(at + 16 + index);
      if (code >= 1 << bits || (kind == 0 && symbol > 11)) return false;
      store<u8>(table + values + index, <u8>symbol);
      if (bits <= <i32>lookBits) enter(table, code, bits, symbol);
      code++;
      index++;
    }
    store<i32>(table + largest + ((<usize>bits) << 2), count ? code - 1 : -1);
    code <<= 1;
  }
  return true;
}

/** All places of the look-up that begin with a code. */
function enter(table: usize, code: i32, bits: i32, symbol: i32): void {
  const size = symbol & 15;
  const rest = <i32>lookBits - bits;
  for (let i = 0; i < 1 << rest; i++) {
    let entry: i32;
    if (size == 0) entry = bits | ((symbol == 0xf0 ? 15 : blockEnd) << 8);
    else if (size <= rest) {
      let value = i >> (rest - size);
      if (value < 1 << (size - 1)) value += 1 - (1 << size);
      entry = (bits + size) | ((symbol >> 4) << 8) | (value << 16);
    } else entry = (symbol << 8) | (bits << 16);
    store<i32>(table + ((<usize>((code << rest) + i)) << 2), entry);
  }
}

// The bits of a scan, left-aligned; words of 32 bits, their bytes in the order of the machine, are taken from `at`.
let buffer: u64 = 0;
let held: i32 = 0;
let at: usize = 0;

export function startBits(from: usize): void {
  buffer = 0;
  held = 0;
  at = from;
}

/** Bits taken since `from`. */
export function bitsTaken(from: usize): i32 {
  return ((<i32>(at - from)) << 3) - held;
}

/** Where the next word is taken from. */
export function bitsAt(): usize {
  return at;
}

/**
 * A symbol that the look-up does not hold whole, at the front of `bits`.
 * @returns an entry as the look-up has them; 0: no such code.
 */
function longEntry(table: usize, entry: i32, bits: u64): i32 {
  let symbol: i32;
  let length: i32;
  if (entry) {
    symbol = (entry >> 8) & 0xff;
    length = entry >> 16;
  } else {
    length = lookBits + 1;
    for (; length <= 16; length++) {
      const code = <i32>(bits >> (64 - length));
      const top = load<i32>(table + largest + ((<usize>length) << 2));
      if (top >= 0 && code <= top) break;
    }
    if (length > 16) return 0;
    const index = <i32>(bits >> (64 - length)) + load<i32>(table + places + ((<usize>length) << 2));
    if (<u32>index > 255) return 0;
    symbol = <i32>load<u8>(table + values + index);
  }
  const size = symbol & 15;
  if (size == 0) return length | ((symbol == 0xf0 ? 15 : blockEnd) << 8);
  let value = <i32>((bits << length) >> (64 - size));
  if (value < 1 << (size - 1)) value += 1 - (1 << size);
  return (length + size) | ((symbol >> 4) << 8) | (value << 16);
}

/** Difference of the last block whose DC was read; `lastIndex`: the last coefficient of the block read last, in zigzag order. */
export let dcDifference: i32 = 0;
export let lastIndex: i32 = 0;

/**
 * Reads a block: coefficients times `quantisers` (words, zigzag order) to `block` (i16, which must be zero), at the byte offsets of
 * `order` (zigzag order). DC is left to the caller.
 */
export function readBlock(dc: usize, ac: usize, block: usize, quantisers: usize, order: usize): bool {
  let bits = buffer;
  let count = held;
  let from = at;
  if (count < 32) {
    bits |= (<u64>load<u32>(from)) << (32 - count);
    from += 4;
    count += 32;
  }
  let entry = load<i32>(dc + ((<usize>(bits >> (64 - lookBits))) << 2));
  if (!(entry & 0xff)) {
    entry = longEntry(dc, entry, bits);
    if (!entry) return false;
  }
  bits <<= entry & 0xff;
  count -= entry & 0xff;
  dcDifference = entry >> 16;
  let k: i32 = 1;
  let last: i32 = 0;
  while (true) {
    if (count < 32) {
      bits |= (<u64>load<u32>(from)) << (32 - count);
      from += 4;
      count += 32;
    }
    entry = load<i32>(ac + ((<usize>(bits >> (64 - lookBits))) << 2));
    if (!(entry & 0xff)) {
      entry = longEntry(ac, entry, bits);
      if (!entry) return false;
    }
    bits <<= entry & 0xff;
    count -= entry & 0xff;
    k += (entry >> 8) & 0xff;
    if (k > 63) {
      if (k < blockEnd) return false;
      break;
    }
    store<i16>(block + load<u8>(order + k), <i16>((entry >> 16) * load<i32>(quantisers + ((<usize>k) << 2))));
    last = k;
    if (++k == 64) break;
  }
  lastIndex = last;
  buffer = bits;
  held = count;
  at = from;
  return true;
}

/** As `readBlock`, for pictures that need no more of a block than its DC. */
export function readDc(dc: usize, ac: usize): bool {
  let bits = buffer;
  let count = held;
  let from = at;
  if (count < 32) {
    bits |= (<u64>load<u32>(from)) << (32 - count);
    from += 4;
    count += 32;
  }
  let entry = load<i32>(dc + ((<usize>(bits >> (64 - lookBits))) << 2));
  if (!(entry & 0xff)) {
    entry = longEntry(dc, entry, bits);
    if (!entry) return false;
  }
  bits <<= entry & 0xff;
  count -= entry & 0xff;
  dcDifference = entry >> 16;
  let k: i32 = 1;
  while (k < 64) {
    if (count < 32) {
      bits |= (<u64>load<u32>(from)) << (32 - count);
      from += 4;
      count += 32;
    }
    entry = load<i32>(ac + ((<usize>(bits >> (64 - lookBits))) << 2));
    if (!(entry & 0xff)) {
      entry = longEntry(ac, entry, bits);
      if (!entry) return false;
    }
    bits <<= entry & 0xff;
    count -= entry & 0xff;
    k += ((entry >> 8) & 0xff) + 1;
  }
  if (k > 64 && k < blockEnd) return false;
  buffer = bits;
  held = count;
  at = from;
  return true;
}
