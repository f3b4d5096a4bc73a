/** The decode-only builds of the two WebAssembly codecs: emscripten modules, which come without types. */
interface WasmDecoder {
  /** Memory of the module for `length` encoded bytes. */
  getEncodedBuffer(length: number): Uint8Array;
  readHeader(): void;
  decode(): void;
  /** JPEG 2000 alone: at 1 / 2^halvings of its size; how often that goes is known after `readHeader`. */
  decodeSubResolution(halvings: number, layers: number): void;
  getNumDecompositions(): number;
  getFrameInfo(): { width: number; height: number; bitsPerSample: number; componentCount: number; isSigned?: boolean };
  /** Interleaved samples, in memory of the module. */
  getDecodedBuffer(): Uint8Array;
  delete(): void;
}

interface WasmModuleOptions {
  wasmBinary: Uint8Array;
  print(): void;
  printErr(): void;
}

declare module '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs' {
  export default function create(options: WasmModuleOptions): Promise<{ JPEGDecoder: new () => WasmDecoder }>;
}

declare module '@cornerstonejs/codec-openjpeg/decodewasmjs' {
  export default function create(options: WasmModuleOptions): Promise<{ J2KDecoder: new () => WasmDecoder }>;
}
