/** The viridis colours (Smith and van der Walt, 2015; public domain): even steps of lightness, readable without colour vision. */

/** Eleven of its colours, evenly spaced; between them it is close to straight. */
const STOPS = [
  [68, 1, 84],
  [72, 36, 117],
  [65, 68, 135],
  [53, 95, 141],
  [42, 120, 142],
  [33, 145, 140],
  [34, 168, 132],
  [68, 191, 112],
  [122, 209, 81],
  [189, 223, 38],
  [253, 231, 37],
] as const;

/** Colour of a share in 0..1 as RGB, 0..255. */
export function viridis(share: number): [number, number, number] {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const below = Math.min(STOPS.length - 2, Math.floor(place));
  const mix = (channel: 0 | 1 | 2) => {
    const [low, high] = [STOPS[below]![channel], STOPS[below + 1]![channel]];
    return Math.round(low + (high - low) * (place - below));
  };
  return [mix(0), mix(1), mix(2)];
}
