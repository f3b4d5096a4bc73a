/** What the decoder threads compute in WebAssembly; see ../tile-kernels.ts for the other side. */
export { decodeJpeg, input, pixels, pixelsHeight, pixelsSamples, pixelsWidth } from './jpeg';
