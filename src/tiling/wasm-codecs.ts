/** The decoders of others, in WebAssembly: libjpeg-turbo and OpenJPEG. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import createJpegTurbo from '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs';
import createOpenJpeg from '@cornerstonejs/codec-openjpeg/decodewasmjs';
import { jpegSize } from './jpeg-stream.ts';
import { checkFits, type Samples, type TileEncoding } from './tile-encoding.ts';

/** Any JPEG of 8 bits. @throws Error if it is damaged, or larger than its tile. */
export function decodeJpegTurbo(bytes: Uint8Array, encoding: TileEncoding): Promise<Samples> {
  checkFits(jpegSize(bytes), encoding);
  return decodeWith(openJpegTurbo, bytes, encoding, (decoder) => {
    decoder.decode();
    return 0;
  });
}

/**
 * A wavelet's lower resolutions are sharper than means of pixels, and their pixels stand for the first of those they replace. So it is
 * decoded at no less than four times the size asked for (and the pixels' `phase` is told): the means of those differ from true ones by
 * about one grey level in dense tissue; at twice the size they would by more than two.
 *
 * @throws Error if it is damaged, or larger than its tile.
 */
export async function decodeJpeg2000(bytes: Uint8Array, encoding: TileEncoding, reduce: number): Promise<Samples> {
  checkFits(jpeg2000Size(bytes), encoding);
  const decoded = await decodeWith(openJpeg2000, bytes, encoding, (decoder) => {
    decoder.readHeader();
    const halvings = Math.min(decoder.getNumDecompositions(), Math.max(0, Math.log2(reduce) - 2));
    if (halvings > 0) decoder.decodeSubResolution(halvings, 0);
    else decoder.decode();
    return halvings;
  });
  return { ...decoded, phase: 0.5 - 0.5 / decoded.reduced! };
}

/** A codec of this thread: made at first use, and made anew after a failure, because a failed decoder keeps its memory. */
interface WasmCodec {
  decoder: Promise<WasmDecoder> | null;
  readonly create: () => Promise<WasmDecoder>;
}

const require = createRequire(import.meta.url);

function moduleOptions(wasmBinary: Uint8Array): WasmModuleOptions {
  return { wasmBinary, print() {}, printErr() {} };
}

const openJpegTurbo: WasmCodec = {
  decoder: null,
  async create() {
    const wasm = await readFile(require.resolve('@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasm'));
    return new (await createJpegTurbo(moduleOptions(wasm))).JPEGDecoder();
  },
};

const openJpeg2000: WasmCodec = {
  decoder: null,
  async create() {
    const wasm = await readFile(require.resolve('@cornerstonejs/codec-openjpeg/decodewasm'));
    return new (await createOpenJpeg(moduleOptions(wasm))).J2KDecoder();
  },
};

async function decodeWith(
  codec: WasmCodec,
  bytes: Uint8Array,
  encoding: TileEncoding,
  decode: (decoder: WasmDecoder) => number,
): Promise<Samples> {
  codec.decoder ??= codec.create();
  const decoder = await codec.decoder;
  try {
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    const halvings = decode(decoder);
    const { componentCount, bitsPerSample, ...frame } = decoder.getFrameInfo();
    const [width, height] = [Math.ceil(frame.width / 2 ** halvings), Math.ceil(frame.height / 2 ** halvings)];
    if (bitsPerSample > 8) throw new Error(`has ${bitsPerSample} bits per sample; 8 are supported`);
    const data = decoder.getDecodedBuffer();
    if (data.length < width * height * componentCount) throw new Error('is cut short');
    return { width, height, samples: componentCount, data, reduced: 2 ** halvings };
  } catch (error) {
    codec.decoder = null;
    // Emscripten throws the address of a C++ exception.
    throw error instanceof Error ? error : new Error(`is not valid ${encoding.codec}`);
  }
}

/** The size in the SIZ marker of a raw codestream (`ff4fff51`) or of the one inside a JP2 file. */
function jpeg2000Size(bytes: Uint8Array): { width: number; height: number } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + 24 <= Math.min(bytes.length, 4096); at++) {
    if (view.getUint32(at) === 0xff4fff51) {
      return {
        width: view.getUint32(at + 8) - view.getUint32(at + 16),
        height: view.getUint32(at + 12) - view.getUint32(at + 20),
      };
    }
  }
  throw new Error('is not a JPEG 2000 picture');
}
