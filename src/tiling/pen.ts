/**
 * Pen marks on the glass: ink whose colour no stain has. Told by how much of each primary colour is absorbed: stained tissue absorbs
 * green most, green and blue ink red; red ink absorbs blue nearly as much as green, eosin does not; black ink absorbs all.
 *
 * Red ink looks like much blood in one place, and tissue marked blue-green (surgical margins) like green ink.
 */
import { dilate, intersect, type Mask, removeSmall } from './morphology.ts';
import type { RgbImage } from './slide.ts';

export const penColours = ['red', 'green', 'blue', 'black'] as const;
export type PenColour = (typeof penColours)[number];

/** 255 against the slide's white. */
const white = 245;
const density = Float64Array.from({ length: 256 }, (_, value) => Math.max(0, Math.log10(white / Math.max(1, value))));

/** The ink that a pixel looks like, null if none. */
export function penColourOf(red: number, green: number, blue: number): PenColour | null {
  const brightest = Math.max(red, green, blue);
  if (brightest < 90 && brightest - Math.min(red, green, blue) < 45) return 'black';
  if (blue - red > 60 && green >= red - 5 && blue - green > 30) return 'blue';
  if (green - red > 25 && green > 0.8 * blue) return 'green';
  const [r, g, b] = [density[red]!, density[green]!, density[blue]!];
  return red - green > 62 && b > 0.63 * g && r < 0.45 * g ? 'red' : null;
}

/** Whether ink of a colour is so full that no stain is: pale red alone cannot be told from eosin. */
export function isStrong(colour: PenColour, red: number, green: number): boolean {
  return colour !== 'red' || red - green > 85;
}

/** More of a picture that looks like ink is its stain (Giemsa) or its darkness (fluorescence): marks of pens took 0.29 at most. */
const mostInk = 0.5;

/** Whether what looks like ink on a picture of the whole slide may be ink. */
export function canTellInk({ data }: RgbImage): boolean {
  let [ink, seen] = [0, 0];
  // Every fifth pixel tells as much as all of them.
  for (let i = 0; i < data.length; i += 15, seen++) {
    if (penColourOf(data[i]!, data[i + 1]!, data[i + 2]!) !== null) ink++;
  }
  return ink <= mostInk * seen;
}

/**
 * Pixels of ink. Each colour's strong pixels, in pieces of `area` pixels or more, and what looks like the same ink within `rim` pixels of
 * them: pale red ink alone cannot be told from eosin.
 */
export function penMask({ width, height, data }: RgbImage, area: number, rim: number): Mask {
  const ink = new Uint8Array(width * height);
  const strong = new Uint8Array(width * height);
  for (let i = 0; i < ink.length; i++) {
    const [red, green, blue] = [data[i * 3]!, data[i * 3 + 1]!, data[i * 3 + 2]!];
    const colour = penColourOf(red, green, blue);
    if (colour === null) continue;
    ink[i] = 1;
    if (isStrong(colour, red, green)) strong[i] = 1;
  }
  const marks = removeSmall({ width, height, data: strong }, area);
  return intersect({ width, height, data: ink }, dilate(marks, rim));
}
