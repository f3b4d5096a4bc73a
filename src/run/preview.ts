/**
 * `preview.png`: what a run would look at, and what not, and why. The thumbnail with the outline of the tissue, the grid of patches,
 * the places left out coloured by reason, and unreadable parts hatched; a legend below.
 */
import type { PatchGrid } from '../tiling/grid.ts';
import type { Level0Rectangle } from '../tiling/holes.ts';
import type { Overview } from '../tiling/overview.ts';
import type { Exclusion } from '../tiling/patch-sieve.ts';
import type { RgbImage } from '../tiling/slide.ts';
import type { TissueMask } from '../tiling/tissue.ts';
import { drawText, widthOfText } from './letters.ts';

type Colour = readonly [number, number, number];

const OUTLINE: Colour = [0, 150, 80];
const PATCH: Colour = [30, 110, 255];
const HOLE: Colour = [200, 0, 0];
const INK: Colour = [60, 60, 60];
const REASONS: Readonly<Record<Exclusion, { colour: Colour; label: string }>> = {
  'little-tissue': { colour: [240, 170, 0], label: 'little tissue' },
  'not-chosen': { colour: [130, 130, 130], label: 'not chosen' },
  blurred: { colour: [140, 60, 220], label: 'blurred' },
  pen: { colour: [240, 0, 140], label: 'pen' },
  unreadable: { colour: HOLE, label: 'unreadable' },
};

/** In pixels of the picture. */
const LEGEND = { margin: 8, swatch: 14, gap: 18, line: 22, narrowest: 320, dot: 2 };
/** Between two lines of a hatched area. */
const HATCH = 6;
/** Squares with a smaller side are filled: their outlines would touch. */
const SMALLEST_OUTLINED = 5;

export function drawPreview(
  thumbnail: Overview,
  tissue: TissueMask,
  grid: PatchGrid,
  holes: readonly Level0Rectangle[],
): RgbImage {
  const entries = legendOf(grid, holes);
  const picture = new Canvas(thumbnail, Math.max(thumbnail.width, LEGEND.narrowest), entries);
  const { level0PerPixel } = thumbnail;
  const pixel = (at: number) => Math.round(at / level0PerPixel);
  const toPixels = ({ x, y, width, height }: Level0Rectangle): Box => [
    pixel(x),
    pixel(y),
    pixel(x + width),
    pixel(y + height),
  ];
  const places = (coords: Int32Array) =>
    Array.from({ length: coords.length / 2 }, (_, i) =>
      toPixels({ x: coords[2 * i]!, y: coords[2 * i + 1]!, width: grid.level0Side, height: grid.level0Side }),
    );

  for (const { reason, coords } of grid.excluded) {
    for (const box of places(coords)) picture.square(box, REASONS[reason].colour, 0.3);
  }
  for (const box of places(grid.coords)) picture.square(box, PATCH, 0);
  drawOutline(picture, thumbnail, tissue);
  for (const hole of holes) picture.hatch(toPixels(hole), HOLE);
  return picture.image();
}

/** Left, top, right, bottom; the last two are outside. */
type Box = readonly [number, number, number, number];

interface Entry {
  readonly label: string;
  readonly draw: (picture: Canvas, box: Box) => void;
}

function legendOf(grid: PatchGrid, holes: readonly Level0Rectangle[]): Entry[] {
  return [
    { label: 'tissue', draw: (picture, box) => picture.outline(box, OUTLINE) },
    { label: `${grid.count} patches`, draw: (picture, box) => picture.square(box, PATCH, 0) },
    ...grid.excluded.map(({ reason, coords }): Entry => {
      const { colour, label } = REASONS[reason];
      return { label: `${coords.length / 2} ${label}`, draw: (picture, box) => picture.square(box, colour, 0.3) };
    }),
    ...(holes.length > 0
      ? [{ label: 'cannot be read', draw: (picture: Canvas, box: Box) => picture.hatch(box, HOLE) }]
      : []),
  ];
}

/** The rim of the mask, two pixels wide: one of tissue, one beside it. */
function drawOutline(picture: Canvas, { width, height, level0PerPixel }: Overview, tissue: TissueMask): void {
  const toMask = level0PerPixel / tissue.level0PerPixel;
  const isTissue = (x: number, y: number) => {
    if (x < 0 || y < 0 || x >= width || y >= height) return 0;
    const row = Math.min(tissue.height - 1, Math.floor((y + 0.5) * toMask));
    return tissue.data[row * tissue.width + Math.min(tissue.width - 1, Math.floor((x + 0.5) * toMask))]!;
  };
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      const here = isTissue(x, y);
      if (here !== isTissue(x - 1, y) || here !== isTissue(x, y - 1))
        picture.dot(Math.min(x, width - 1), Math.min(y, height - 1), OUTLINE);
      if (here === 1 && isTissue(x + 1, y) === 0) picture.dot(x, y, OUTLINE);
      if (here === 1 && isTissue(x, y + 1) === 0) picture.dot(x, y, OUTLINE);
    }
  }
}

/** A picture with a legend below, both drawn into; what falls outside the picture is lost. */
class Canvas {
  readonly #width: number;
  readonly #height: number;
  readonly #data: Uint8Array;
  /** What may be drawn into. */
  #clip: readonly [number, number];

  constructor(picture: RgbImage, width: number, entries: readonly Entry[]) {
    const places = flow(entries, width);
    this.#width = width;
    this.#height = picture.height + (places.at(-1)?.y ?? 0) + LEGEND.line + LEGEND.margin;
    this.#data = new Uint8Array(this.#width * this.#height * 3).fill(255);
    for (let y = 0; y < picture.height; y++) {
      this.#data.set(picture.data.subarray(y * picture.width * 3, (y + 1) * picture.width * 3), y * width * 3);
    }
    this.#clip = [this.#width, this.#height];
    const { swatch, dot } = LEGEND;
    for (const { entry, x, y } of places) {
      const top = picture.height + y;
      entry.draw(this, [x, top, x + swatch, top + swatch]);
      drawText(entry.label, (column, row) => {
        for (let i = 0; i < dot * dot; i++) {
          this.dot(x + swatch + 6 + column * dot + (i % dot), top + row * dot + Math.floor(i / dot), INK);
        }
      });
    }
    this.#clip = [picture.width, picture.height];
  }

  image(): RgbImage {
    return { width: this.#width, height: this.#height, data: this.#data };
  }

  dot(x: number, y: number, colour: Colour, strength = 1): void {
    if (x < 0 || y < 0 || x >= this.#clip[0] || y >= this.#clip[1]) return;
    const at = (y * this.#width + x) * 3;
    for (let i = 0; i < 3; i++) {
      this.#data[at + i] = Math.round(this.#data[at + i]! * (1 - strength) + colour[i]! * strength);
    }
  }

  /** A thin line around a tint; small ones are only tinted. */
  square(box: Box, colour: Colour, tint: number): void {
    const isSmall = box[2] - box[0] < SMALLEST_OUTLINED;
    const strength = isSmall ? Math.max(0.35, tint) : tint;
    if (strength > 0) {
      for (let y = box[1]; y < Math.max(box[1] + 1, box[3]); y++) {
        for (let x = box[0]; x < Math.max(box[0] + 1, box[2]); x++) this.dot(x, y, colour, strength);
      }
    }
    if (!isSmall) this.outline(box, colour);
  }

  outline([left, top, right, bottom]: Box, colour: Colour): void {
    for (let x = left; x < right; x++) {
      this.dot(x, top, colour, 0.8);
      this.dot(x, bottom - 1, colour, 0.8);
    }
    for (let y = top; y < bottom; y++) {
      this.dot(left, y, colour, 0.8);
      this.dot(right - 1, y, colour, 0.8);
    }
  }

  /** Slanted lines, and a line around. */
  hatch(box: Box, colour: Colour): void {
    const [left, top, right, bottom] = box;
    for (let y = top; y < bottom; y++) {
      for (let x = left; x < right; x++) if ((x + y) % HATCH < 2) this.dot(x, y, colour);
    }
    this.outline(box, colour);
  }
}

/** The entries side by side, in as many lines as it takes. */
function flow(entries: readonly Entry[], width: number): { entry: Entry; x: number; y: number }[] {
  const { margin, swatch, gap, line, dot } = LEGEND;
  let [x, y] = [margin, margin];
  return entries.map((entry) => {
    const length = swatch + 6 + widthOfText(entry.label) * dot;
    if (x > margin && x + length > width) [x, y] = [margin, y + line];
    const place = { entry, x, y };
    x += length + gap;
    return place;
  });
}
