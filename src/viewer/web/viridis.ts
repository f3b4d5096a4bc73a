/** The viridis colours as pixels. */
import { viridis } from '../../viridis.ts';

/** 256 colours from low to high, each as the four bytes of an opaque pixel of ImageData. */
export const VIRIDIS_PIXELS: Uint32Array = new Uint32Array(
  Uint8Array.from({ length: 256 * 4 }, (_, i) => [...viridis((i >> 2) / 255), 255][i & 3]!).buffer,
);
