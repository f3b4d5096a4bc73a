/** Colour maps by name, each as 256 opaque pixels from low to high. */
import { viridis } from '../../viridis.ts';

/** Cividis (Nuñez, Anderton, Renslow, 2018) and magma (Smith, van der Walt, 2015), both CC0; RdBu (Brewer), Apache 2.0. */
const STOPS = {
  cividis: ['00204d', '00336f', '39486b', '575c6d', '707173', '8a8779', 'a69d75', 'c4b56c', 'e4cf5b', 'ffea46'],
  magma: ['000004', '180f3e', '451077', '721f81', '9f2f7f', 'cd4071', 'f1605d', 'fd9567', 'fec98d', 'fcfdbf'],
  diverging: [
    ...['053061', '2166ac', '4393c3', '92c5de', 'd1e5f0', 'f7f7f7'],
    ...['fddbc7', 'f4a582', 'd6604d', 'b2182b', '67001f'],
  ],
} as const;

export type ColourMap = 'viridis' | keyof typeof STOPS;
export const COLOUR_MAPS: readonly ColourMap[] = ['viridis', 'cividis', 'magma', 'diverging'];

const painted = new Map<ColourMap, Uint32Array>();

/** 256 colours, each as the four bytes of an opaque pixel of ImageData. */
export function pixelsOf(map: ColourMap): Uint32Array {
  const found = painted.get(map);
  if (found) return found;
  const bytes = Uint8Array.from({ length: 256 * 4 }, (_, i) => [...colour(map, (i >> 2) / 255), 255][i & 3]!);
  const pixels = new Uint32Array(bytes.buffer);
  painted.set(map, pixels);
  return pixels;
}

function colour(map: ColourMap, share: number): [number, number, number] {
  if (map === 'viridis') return viridis(share);
  const stops = STOPS[map];
  const place = share * (stops.length - 1);
  const below = Math.min(stops.length - 2, Math.floor(place));
  const channel = (stop: number, c: number) => Number.parseInt(stops[stop]!.slice(2 * c, 2 * c + 2), 16);
  const mix = (c: number) =>
    Math.round(channel(below, c) + (channel(below + 1, c) - channel(below, c)) * (place - below));
  return [mix(0), mix(1), mix(2)];
}
