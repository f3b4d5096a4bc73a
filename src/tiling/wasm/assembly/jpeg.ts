/**
 * Baseline JPEG (ITU T.81) of 8 bits: grey, or three components with chroma whole, halved across, or halved both ways; at its own size
 * or as means of 2, 4 or 8 neighbouring pixels each way. The pixels are libjpeg-turbo's with its default settings, bit for bit.
 *
 * Whatever else a JPEG may be, and whatever is wrong in it, is left to a whole decoder: `decodeJpeg` then says no.
 */
import { interleave, toRgb, widen, widenBetween } from './colour';
import { writeBlock, writeFlat } from './dct';
import {
  bitsAt,
  bitsTaken,
  dcDifference,
  defineTable,
  forgetTables,
  isGiven,
  lastIndex,
  readBlock,
  readDc,
  startBits,
  tableOf,
} from './huffman';
import { take } from './memory';

/** Byte offsets of coefficients in a block, in the order in which they are stored. */
const zigzag = memory.data<u8>([
  0, 2, 16, 32, 18, 4, 6, 20, 34, 48, 64, 50, 36, 22, 8, 10, 24, 38, 52, 66, 80, 96, 82, 68, 54, 40, 26, 12, 14, 28, 42,
  56, 70, 84, 98, 112, 114, 100, 86, 72, 58, 44, 30, 46, 60, 74, 88, 102, 116, 118, 104, 90, 76, 62, 78, 92, 106, 120,
  122, 108, 94, 110, 124, 126,
]);

/** Four tables of 64 words, in the order in which they are stored. */
const quantisers = memory.data(4 * 256, 16);
const block = memory.data(128, 16);

let width: i32 = 0;
let height: i32 = 0;
let components: i32 = 0;
let interval: i32 = 0;
let adobe: i32 = -1;
let jfif: bool = false;
let quantisersGiven: i32 = 0;

/** Per component: id, h, v, quantiser, DC table, AC table, reduce across and down, plane, stride, last DC. */
const fieldsPerComponent: usize = 12;
const fields = memory.data(3 * 12 * 4, 16);

// @ts-expect-error: decorator
@inline
function field(component: i32, index: usize): i32 {
  return load<i32>(fields + ((<usize>component * fieldsPerComponent + index) << 2));
}

// @ts-expect-error: decorator
@inline
function setField(component: i32, index: usize, value: i32): void {
  store<i32>(fields + ((<usize>component * fieldsPerComponent + index) << 2), value);
}

// @ts-expect-error: decorator
@inline
function u16At(at: usize): i32 {
  return (<i32>load<u8>(at) << 8) | <i32>load<u8>(at + 1);
}

/** What was decoded last. */
export let pixels: usize = 0;
export let pixelsWidth: i32 = 0;
export let pixelsHeight: i32 = 0;
/** 1 or 3 bytes per pixel. */
export let pixelsSamples: i32 = 0;

/**
 * @param at the encoded picture.
 * @param reduce 1, 2, 4 or 8.
 * @returns whether `pixels` holds the picture. */
export function decodeJpeg(at: usize, length: i32, reduce: i32): bool {
  const end = at + length;
  const scan = readHeader(at, end);
  if (!scan) return false;
  if (!layOut(reduce)) return false;
  if (!readScan(scan, end, reduce)) return false;
  assemble(reduce);
  return true;
}

/** @returns where the scan begins; 0: not a picture for this decoder. */
function readHeader(at: usize, end: usize): usize {
  width = 0;
  components = 0;
  interval = 0;
  adobe = -1;
  jfif = false;
  quantisersGiven = 0;
  forgetTables();
  if (at + 4 > end || u16At(at) != 0xffd8) return 0;
  at += 2;
  while (at + 4 <= end) {
    if (load<u8>(at) != 0xff) return 0;
    const marker = <i32>load<u8>(at + 1);
    if (marker == 0xff) {
      at++;
      continue;
    }
    const length = <usize>u16At(at + 2);
    const from = at + 4;
    const next = at + 2 + length;
    if (length < 2 || next > end) return 0;
    if (marker == 0xc0 || marker == 0xc1) {
      if (components || !readFrame(from, next)) return 0;
    } else if (marker == 0xc4) {
      for (let table = from; table < next; ) {
        const kind = <i32>load<u8>(table);
        if (kind & 0xec) return 0;
        const taken = defineTable(kind >> 4, kind & 3, table + 1, next);
        if (!taken) return 0;
        table += 1 + taken;
      }
    } else if (marker == 0xdb) {
      for (let table = from; table < next; table += 65) {
        const id = <i32>load<u8>(table);
        if (id > 3 || table + 65 > next) return 0;
        quantisersGiven |= 1 << id;
        for (let k: usize = 0; k < 64; k++) {
          store<i32>(quantisers + <usize>id * 256 + (k << 2), <i32>load<u8>(table + 1 + k));
        }
      }
    } else if (marker == 0xdd) {
      if (length != 4) return 0;
      interval = u16At(from);
    } else if (marker == 0xe0) {
      if (length >= 7 && load<u32>(from) == 0x4649464a) jfif = true;
    } else if (marker == 0xee) {
      if (length >= 14 && load<u32>(from) == 0x626f6441) adobe = <i32>load<u8>(from + 11);
    } else if (marker == 0xda) {
      return components && readScanHeader(from, next) ? next : 0;
    } else if (!((marker >= 0xe1 && marker <= 0xef) || marker == 0xfe)) return 0;
    at = next;
  }
  return 0;
}

function readFrame(at: usize, end: usize): bool {
  if (at + 6 > end || load<u8>(at) != 8) return false;
  height = u16At(at + 1);
  width = u16At(at + 3);
  components = <i32>load<u8>(at + 5);
  if (!width || !height || (components != 1 && components != 3) || at + 6 + <usize>components * 3 > end) return false;
  for (let c = 0; c < components; c++) {
    const from = at + 6 + <usize>c * 3;
    const sampling = <i32>load<u8>(from + 1);
    setField(c, 0, load<u8>(from));
    setField(c, 1, sampling >> 4);
    setField(c, 2, sampling & 15);
    setField(c, 3, load<u8>(from + 2));
    if (load<u8>(from + 2) > 3) return false;
  }
  if (components == 1) {
    // A scan of one component goes block by block, whatever its sampling.
    setField(0, 1, 1);
    setField(0, 2, 1);
    return true;
  }
  const h = field(0, 1);
  const v = field(0, 2);
  if (field(1, 1) != 1 || field(1, 2) != 1 || field(2, 1) != 1 || field(2, 2) != 1) return false;
  return (h == 1 && v == 1) || (h == 2 && (v == 1 || v == 2));
}

function readScanHeader(at: usize, end: usize): bool {
  if (at + 4 + <usize>components * 2 > end || <i32>load<u8>(at) != components) return false;
  for (let c = 0; c < components; c++) {
    const from = at + 1 + <usize>c * 2;
    const dc = <i32>load<u8>(from + 1) >> 4;
    const ac = <i32>load<u8>(from + 1) & 15;
    if (<i32>load<u8>(from) != field(c, 0) || dc > 3 || ac > 3 || !isGiven(0, dc) || !isGiven(1, ac)) return false;
    if (!(quantisersGiven & (1 << field(c, 3)))) return false;
    setField(c, 4, <i32>tableOf(0, dc));
    setField(c, 5, <i32>tableOf(1, ac));
  }
  const last = at + 1 + <usize>components * 2;
  return load<u8>(last) == 0 && load<u8>(last + 1) == 63 && load<u8>(last + 2) == 0;
}

let mcusAcross: i32 = 0;
let mcusDown: i32 = 0;

// @ts-expect-error: decorator
@inline
function ceilDivide(a: i32, b: i32): i32 {
  return (a + b - 1) / b;
}

/** Room for the planes and the pixels. */
function layOut(reduce: i32): bool {
  const h = field(0, 1);
  const v = field(0, 2);
  mcusAcross = ceilDivide(width, 8 * h);
  mcusDown = ceilDivide(height, 8 * v);
  // Chroma this narrow is enlarged in another way.
  if (h == 2 && reduce == 1 && width < 5) return false;
  for (let c = 0; c < components; c++) {
    // Where chroma is halved already, it is reduced by less.
    const reduceX = max(1, reduce / (h / field(c, 1)));
    const reduceY = max(1, reduce / (v / field(c, 2)));
    const stride = (mcusAcross * field(c, 1) * 8) / reduceX;
    const rows = (mcusDown * field(c, 2) * 8) / reduceY;
    setField(c, 6, reduceX);
    setField(c, 7, reduceY);
    setField(c, 8, <i32>take(<usize>stride * rows));
    setField(c, 9, stride);
  }
  pixelsWidth = ceilDivide(width, reduce);
  pixelsHeight = ceilDivide(height, reduce);
  pixelsSamples = components;
  pixels = take(<usize>pixelsWidth * pixelsHeight * components);
  return true;
}

/** Reads interval after interval: from one restart marker to the next, or all. */
function readScan(at: usize, end: usize, reduce: i32): bool {
  const clean = take(end - at + 4096);
  // The last picture may have ended within a block.
  memory.fill(block, 0, 128);
  const mcus = mcusAcross * mcusDown;
  const step = interval ? interval : mcus;
  for (let first = 0, restart = 0; first < mcus; first += step, restart++) {
    const next = unstuff(at, end, clean);
    if (!readInterval(clean, first, min(mcus, first + step), reduce)) return false;
    if (first + step >= mcus) break;
    if (next + 2 > end || <i32>load<u8>(next + 1) != 0xd0 + (restart & 7)) return false;
    at = next + 2;
  }
  return true;
}

let cleanEnd: usize = 0;

/**
 * Copies the coded bytes up to the next marker without the zeros that were stuffed behind each 0xff, in words of the machine.
 * @returns where the marker is.
 */
function unstuff(at: usize, end: usize, clean: usize): usize {
  const full = i8x16.splat(-1);
  let to = clean;
  while (at < end) {
    if (at + 16 <= end) {
      const bytes = v128.load(at);
      v128.store(to, bytes);
      const found = i8x16.bitmask(i8x16.eq(bytes, full));
      if (!found) {
        at += 16;
        to += 16;
        continue;
      }
      const before = <usize>ctz(found);
      at += before;
      to += before;
    } else if (load<u8>(at) != 0xff) {
      store<u8>(to++, load<u8>(at++));
      continue;
    }
    // At 0xff.
    if (at + 1 >= end || load<u8>(at + 1) != 0) {
      if (at + 1 < end && load<u8>(at + 1) == 0xff) {
        at++; // filling before a marker
        continue;
      }
      break;
    }
    store<u8>(to++, 0xff);
    at += 2;
  }
  cleanEnd = to;
  memory.fill(to, 0, 4000);
  for (let word = clean; word < to + 16; word += 16) {
    v128.store(word, v128.shuffle<i8>(v128.load(word), full, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12));
  }
  return at;
}

function readInterval(clean: usize, from: i32, to: i32, reduce: i32): bool {
  startBits(clean);
  const last = cleanEnd + 8;
  for (let c = 0; c < components; c++) setField(c, 10, 0);
  let row = from / mcusAcross;
  let column = from % mcusAcross;
  for (let mcu = from; mcu < to; mcu++) {
    for (let c = 0; c < components; c++) {
      const h = field(c, 1);
      const v = field(c, 2);
      const reduceX = field(c, 6);
      const reduceY = field(c, 7);
      const stride = field(c, 9);
      const dcTable = <usize>field(c, 4);
      const acTable = <usize>field(c, 5);
      const quantiser = quantisers + <usize>field(c, 3) * 256;
      for (let y = 0; y < v; y++) {
        for (let x = 0; x < h; x++) {
          const place =
            <usize>field(c, 8) + <usize>(((row * v + y) * 8) / reduceY) * stride + ((column * h + x) * 8) / reduceX;
          if (reduceX == 8 && reduceY == 8) {
            if (!readDc(dcTable, acTable)) return false;
            const dc = field(c, 10) + dcDifference;
            setField(c, 10, dc);
            writeFlat(dc * load<i32>(quantiser), place, stride, 8, 8);
            continue;
          }
          if (!readBlock(dcTable, acTable, block, quantiser, zigzag)) return false;
          const dc = field(c, 10) + dcDifference;
          setField(c, 10, dc);
          if (lastIndex == 0) writeFlat(dc * load<i32>(quantiser), place, stride, reduceX, reduceY);
          else {
            store<i16>(block, <i16>(dc * load<i32>(quantiser)));
            writeBlock(block, place, stride, reduceX, reduceY);
          }
        }
      }
    }
    if (bitsAt() > last) return false;
    if (++column == mcusAcross) {
      column = 0;
      row++;
    }
  }
  return bitsTaken(clean) <= <i32>(cleanEnd - clean) << 3;
}

/** libjpeg's guess where nothing says what three components are. */
function areRgb(): bool {
  if (jfif) return false;
  if (adobe >= 0) return adobe == 0;
  return field(0, 0) == 0x52 && field(1, 0) == 0x47 && field(2, 0) == 0x42;
}

/** The planes as rows of pixels. */
function assemble(reduce: i32): void {
  const stride = field(0, 9);
  const luma = <usize>field(0, 8);
  if (components == 1) {
    for (let row = 0; row < pixelsHeight; row++) {
      memory.copy(pixels + <usize>row * pixelsWidth, luma + <usize>row * stride, pixelsWidth);
    }
    return;
  }
  const isRgb = areRgb();
  const wide = field(0, 1) == 2 && reduce == 1;
  const high = field(0, 2) == 2 && reduce == 1;
  const chromaStride = field(1, 9);
  const chromaWidth = wide ? (width + 1) >> 1 : pixelsWidth;
  const chromaRows = high ? (height + 1) >> 1 : pixelsHeight;
  const sums = take(<usize>chromaStride * 2 + 64) + 16;
  const blue = take(<usize>chromaStride * 2 + 64);
  const red = take(<usize>chromaStride * 2 + 64);
  for (let row = 0; row < pixelsHeight; row++) {
    const y = luma + <usize>row * stride;
    const to = pixels + <usize>row * pixelsWidth * 3;
    const near = high ? row >> 1 : row;
    let cb = <usize>field(1, 8) + <usize>near * chromaStride;
    let cr = <usize>field(2, 8) + <usize>near * chromaStride;
    if (high) {
      const far = min(chromaRows - 1, max(0, near + (row & 1 ? 1 : -1)));
      widenBetween(cb, <usize>field(1, 8) + <usize>far * chromaStride, chromaWidth, sums, blue);
      widenBetween(cr, <usize>field(2, 8) + <usize>far * chromaStride, chromaWidth, sums, red);
    } else if (wide) {
      widen(cb, chromaWidth, sums, blue);
      widen(cr, chromaWidth, sums, red);
    }
    if (wide) {
      cb = blue;
      cr = red;
    }
    if (isRgb) interleave(y, cb, cr, pixelsWidth, to);
    else toRgb(y, cb, cr, pixelsWidth, to);
  }
}
