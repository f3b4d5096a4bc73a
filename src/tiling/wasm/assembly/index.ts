/** What the decoder threads compute in WebAssembly; `../open.ts` is the other side. */
export { decodeJpeg, pixels, pixelsHeight, pixelsSamples, pixelsWidth } from './jpeg';
export { begin, take } from './memory';
export { resampleArea } from './resample';
