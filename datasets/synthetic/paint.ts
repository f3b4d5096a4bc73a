/**
 * Paints a scene, one band of rows at a time, as two planes of stain (haematoxylin, eosin; one byte a pixel each) that the
 * light then passes: colour = glass x 10^(-amount x stain). Stain differences between laboratories are one small table.
 */
import { createRandom, normal } from '../../src/random.ts';
import { sample } from './noise.ts';
import { bounds, corners, depth, type Outline } from './outline.ts';
import { type Gland, isTumourSheet, type Nucleus, type Scene } from './scene.ts';

/** How a laboratory stains and a scanner lights. Optical densities of red, green and blue at full amount. */
export interface Stain {
  readonly haematoxylin: readonly [number, number, number];
  readonly eosin: readonly [number, number, number];
  /** Colour of empty glass. */
  readonly glass: readonly [number, number, number];
}

/** Rows `top` to `top + rows` of the scene. */
interface Band {
  readonly top: number;
  readonly rows: number;
  readonly width: number;
  readonly haematoxylin: Uint8ClampedArray;
  readonly eosin: Uint8ClampedArray;
}

export interface Painter {
  /** Paints `rows` rows from `top` on as RGB, width x rows x 3; valid until the next call. */
  paint(top: number, rows: number): Uint8Array;
}

const GRID = 32;

/** @param bandRows the most rows that will be asked for at once. */
export function createPainter(scene: Scene, stain: Stain, bandRows: number): Painter {
  const { widthPx: width, heightPx, seed } = scene.options;
  const haematoxylin = new Uint8ClampedArray(width * bandRows);
  const eosin = new Uint8ClampedArray(width * bandRows);
  const rgb = new Uint8ClampedArray(width * bandRows * 3);
  const colours = colourTable(stain);
  const nuclei = byBand(scene.nuclei, bandRows, heightPx);
  const across = new Float32Array(width);
  const noise = sensorNoise(seed);

  return {
    paint(top, rows) {
      const band: Band = { top, rows, width, haematoxylin, eosin };
      haematoxylin.fill(0);
      eosin.fill(0);
      const stroma = stromaFill(scene, band, across);
      for (const piece of scene.tissue) fill(piece, band, stroma);
      for (const cell of scene.fat) fill(cell, band, fatFill(cell, band));
      for (const gland of scene.glands) fill(gland.outline, band, glandFill(scene, gland, band));
      for (const nest of scene.nests) fill(nest, band, tumourFill(scene, band));
      for (let i = Math.floor(top / bandRows); i * bandRows < top + rows; i++) {
        for (const nucleus of nuclei[i]!) paintNucleus(scene, nucleus, band);
      }
      develop(band, colours, noise, rgb);
      return new Uint8Array(rgb.buffer, 0, width * rows * 3);
    },
  };
}

type FillRow = (y: number, from: number, to: number) => void;

/** Calls `row` for every run of pixels inside the outline (even-odd rule on pixel centres). */
function fill(outline: Outline, band: Band, row: FillRow): void {
  const { top, bottom } = bounds(outline);
  const first = Math.max(band.top, Math.floor(top));
  const last = Math.min(band.top + band.rows, Math.ceil(bottom));
  if (first >= last) return;
  const points = corners(outline);
  for (let y = first; y < last; y++) {
    const crossings: number[] = [];
    let [fromX, fromY] = points.at(-1)!;
    for (const [x, yCorner] of points) {
      if (fromY <= y !== yCorner <= y) crossings.push(fromX + ((y - fromY) * (x - fromX)) / (yCorner - fromY));
      fromX = x;
      fromY = yCorner;
    }
    crossings.sort((a, b) => a - b);
    for (let i = 0; i + 1 < crossings.length; i += 2) {
      const from = Math.max(0, Math.ceil(crossings[i]!));
      const to = Math.min(band.width, Math.ceil(crossings[i + 1]!));
      if (from < to) row(y, from, to);
    }
  }
}

/** Pink fibres with pale clefts between them. */
function stromaFill(scene: Scene, band: Band, across: Float32Array): FillRow {
  const { fibre, cloud } = scene.textures;
  return (y, from, to) => {
    acrossRow(scene, y, from, to, across);
    const start = (y - band.top) * band.width;
    for (let x = from; x < to; x++) {
      const phase = across[x]! | 0;
      const streak = fibre.values[((((x + y) >> 1) & fibre.mask) << 10) | (phase & fibre.mask)]!;
      const density = cloud.values[((y & cloud.mask) << 10) | (x & cloud.mask)]!;
      const cleft = Math.min(1, Math.max(0, (streak - 34 + density * 0.25) / 36));
      band.eosin[start + x] = (62 + streak * 0.26 + density * 0.12) * (0.3 + 0.7 * cleft);
      band.haematoxylin[start + x] = 7 + streak * 0.03;
    }
  };
}

/** The fibres' phase along a row: exact every 32 px, straight lines between. */
function acrossRow({ fibres }: Scene, y: number, from: number, to: number, target: Float32Array): void {
  for (let x = from; x < to; x += GRID) {
    const left = fibres.across(x, y);
    const slope = (fibres.across(x + GRID, y) - left) / GRID;
    const end = Math.min(x + GRID, to);
    for (let i = x; i < end; i++) target[i] = left + slope * (i - x) + 1e6;
  }
}

function fatFill(cell: Outline, band: Band): FillRow {
  return (y, from, to) => {
    const start = (y - band.top) * band.width;
    for (let x = from; x < to; x++) {
      const inside = depth(cell, x, y) < 0.965;
      band.haematoxylin[start + x] = inside ? 0 : 14;
      band.eosin[start + x] = inside ? 2 : 78;
    }
  };
}

/** From the rim inwards: basement membrane, cytoplasm that pales towards the lumen, lumen with a little secretion. */
function glandFill(scene: Scene, { outline, lumen }: Gland, band: Band): FillRow {
  const { grain } = scene.textures;
  const rim = 1 - 1.6 / scene.options.mpp / Math.min(outline.radiusX, outline.radiusY);
  return (y, from, to) => {
    const start = (y - band.top) * band.width;
    for (let x = from; x < to; x++) {
      const d = depth(outline, x, y);
      const speckle = sample(grain, x, y);
      if (d < lumen) {
        band.haematoxylin[start + x] = 2;
        band.eosin[start + x] = 4 + speckle * 0.04;
      } else if (d > rim) {
        band.haematoxylin[start + x] = 16;
        band.eosin[start + x] = 118;
      } else {
        const apical = (rim - d) / (rim - lumen);
        const brush = d < lumen + 0.03 ? 26 : 0;
        band.haematoxylin[start + x] = 47 - 26 * apical + speckle * 0.03;
        band.eosin[start + x] = 74 - 26 * apical + speckle * 0.1 + brush;
      }
    }
  };
}

/** Amphophilic cytoplasm, with the stroma left standing in thin septa. */
function tumourFill(scene: Scene, band: Band): FillRow {
  const { grain } = scene.textures;
  return (y, from, to) => {
    const start = (y - band.top) * band.width;
    for (let x = from; x < to; x++) {
      if (!isTumourSheet(scene.textures, x, y)) continue;
      const speckle = sample(grain, x, y);
      band.haematoxylin[start + x] = 40 + speckle * 0.08;
      band.eosin[start + x] = 78 + speckle * 0.1;
    }
  };
}

function paintNucleus(scene: Scene, nucleus: Nucleus, band: Band): void {
  const { x: cx, y: cy, semiMajor, semiMinor, chroma, clumping } = nucleus;
  const { values, side, mask } = scene.textures.grain;
  const cos = Math.cos(nucleus.angle);
  const sin = Math.sin(nucleus.angle);
  const halfWidth = Math.hypot(semiMajor * cos, semiMinor * sin) + 1;
  const halfHeight = Math.hypot(semiMajor * sin, semiMinor * cos) + 1;
  const left = Math.max(0, Math.floor(cx - halfWidth));
  const right = Math.min(band.width, Math.ceil(cx + halfWidth) + 1);
  const first = Math.max(band.top, Math.floor(cy - halfHeight));
  const last = Math.min(band.top + band.rows, Math.ceil(cy + halfHeight) + 1);
  // Each nucleus looks at its own piece of the texture.
  const shift = (cx * 7919 + cy * 104729) | 0;
  for (let y = first; y < last; y++) {
    const start = (y - band.top) * band.width;
    const textureRow = ((y + (shift >> 9)) & mask) * side;
    for (let x = left; x < right; x++) {
      const u = ((x - cx) * cos + (y - cy) * sin) / semiMajor;
      const v = ((y - cy) * cos - (x - cx) * sin) / semiMinor;
      const d2 = u * u + v * v;
      const cover = Math.min(1, (1.08 - d2) * semiMinor * 0.45);
      if (cover <= 0) continue;
      const clump = clumping * (values[textureRow + ((x + shift) & mask)]! / 128 - 1);
      const amount = chroma * (0.8 + 0.2 * d2 + clump);
      const i = start + x;
      band.haematoxylin[i] = band.haematoxylin[i]! + (amount - band.haematoxylin[i]!) * cover;
      band.eosin[i] = band.eosin[i]! + (34 - band.eosin[i]!) * cover;
    }
  }
}

function byBand(nuclei: readonly Nucleus[], bandRows: number, height: number): Nucleus[][] {
  const bands: Nucleus[][] = Array.from({ length: Math.ceil(height / bandRows) }, () => []);
  for (const nucleus of nuclei) {
    const first = Math.max(0, Math.floor((nucleus.y - nucleus.semiMajor - 2) / bandRows));
    const last = Math.min(bands.length - 1, Math.floor((nucleus.y + nucleus.semiMajor + 2) / bandRows));
    for (let i = first; i <= last; i++) bands[i]!.push(nucleus);
  }
  return bands;
}

/** RGB bytes of every pair of stain amounts, packed as 0xBBGGRR at `haematoxylin << 8 | eosin`. */
function colourTable({ haematoxylin, eosin, glass }: Stain): Uint32Array {
  const table = new Uint32Array(65536);
  for (let h = 0; h < 256; h++) {
    for (let e = 0; e < 256; e++) {
      let packed = 0;
      for (let c = 0; c < 3; c++) {
        const density = (h * haematoxylin[c]! + e * eosin[c]!) / 255;
        packed |= Math.round(glass[c]! * 10 ** -density) << (8 * c);
      }
      table[(h << 8) | e] = packed;
    }
  }
  return table;
}

function sensorNoise(seed: number): Int8Array {
  const random = createRandom(seed ^ 0x5eed);
  return Int8Array.from({ length: 1 << 16 }, () => Math.round(1.6 * normal(random)));
}

function develop(
  { top, rows, width, haematoxylin, eosin }: Band,
  colours: Uint32Array,
  noise: Int8Array,
  rgb: Uint8ClampedArray,
): void {
  for (let row = 0; row < rows; row++) {
    // An odd step a row, so that the noise does not line up.
    let n = ((top + row) * 40503) & 0xffff;
    for (let i = row * width, end = i + width, o = i * 3; i < end; i++) {
      const packed = colours[(haematoxylin[i]! << 8) | eosin[i]!]!;
      rgb[o++] = (packed & 255) + noise[n]!;
      rgb[o++] = ((packed >> 8) & 255) + noise[(n + 1) & 0xffff]!;
      rgb[o++] = (packed >> 16) + noise[(n + 2) & 0xffff]!;
      n = (n + 3) & 0xffff;
    }
  }
}
