/**
 * The safetensors format: 8 bytes of header length, a JSON header {name: {dtype, shape, data_offsets}}, raw little-endian data.
 * Bytes in, bytes out; files are `model-folder.ts`.
 */
import { messageOf, UserError } from '../errors.ts';
import { widenBrain, widenHalf } from '../features/half.ts';
import { sizeOf } from '../kernels/tensor.ts';

export interface HostTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Named tensors in the order of the file. */
export type Weights = ReadonlyMap<string, HostTensor>;

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** How many bytes an element takes, and how it becomes f32. */
interface Dtype {
  readonly bytes: number;
  readonly widen: (raw: ArrayBuffer) => Float32Array;
}

const dtypes: ReadonlyMap<string, Dtype> = new Map<string, Dtype>(
  Object.entries({
    F32: { bytes: 4, widen: (raw) => new Float32Array(raw) },
    F64: { bytes: 8, widen: (raw) => Float32Array.from(new Float64Array(raw)) },
    F16: { bytes: 2, widen: (raw) => widenHalf(new Uint16Array(raw)) },
    BF16: { bytes: 2, widen: (raw) => widenBrain(new Uint16Array(raw)) },
    I32: { bytes: 4, widen: (raw) => Float32Array.from(new Int32Array(raw)) },
    I64: { bytes: 8, widen: (raw) => Float32Array.from(new BigInt64Array(raw), Number) },
    U8: { bytes: 1, widen: (raw) => Float32Array.from(new Uint8Array(raw)) },
  } satisfies Record<string, Dtype>),
);

const MAX_HEADER_BYTES = 100e6;

/** All tensors, widened to f32. @throws UserError `not-safetensors` naming `source`. */
export function readSafetensors(file: Uint8Array, source: string): Weights {
  // A Buffer of Node's would cut views where a Uint8Array cuts copies.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const wrong = (what: string, cause?: unknown) =>
    new UserError('not-safetensors', `${source}: ${what}.`, 'Copy the file again, or export it anew.', { cause });
  if (bytes.length < 8) throw wrong(`${bytes.length} bytes are too few for a safetensors file`);
  const headerBytes = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (headerBytes > Math.min(bytes.length - 8, MAX_HEADER_BYTES)) {
    throw wrong(`the header is said to have ${headerBytes} bytes, the file has ${bytes.length}`);
  }
  let header: Record<string, Entry>;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(8, 8 + headerBytes)));
  } catch (cause) {
    throw wrong(`the header is not JSON (${messageOf(cause)})`, cause);
  }
  if (typeof header !== 'object' || header === null) throw wrong('the header is not an object');

  const data = bytes.subarray(8 + headerBytes);
  const weights = new Map<string, HostTensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    if (!isEntry(entry)) throw wrong(`tensor "${name}" is described in an unknown way`);
    const dtype = dtypes.get(entry.dtype);
    if (!dtype) throw wrong(`tensor "${name}" has type ${entry.dtype}, which is not read here`);
    const [start, end] = entry.data_offsets;
    if (start < 0 || end > data.length || end - start !== sizeOf(entry.shape) * dtype.bytes) {
      throw wrong(`tensor "${name}" [${entry.shape}] lies at bytes ${start} to ${end} of ${data.length}`);
    }
    weights.set(name, { shape: entry.shape, data: dtype.widen(data.slice(start, end).buffer) });
  }
  return weights;
}

function isEntry(entry: unknown): entry is Entry {
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Partial<Entry>;
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  return (
    typeof dtype === 'string' &&
    Array.isArray(shape) &&
    shape.every(isCount) &&
    Array.isArray(offsets) &&
    offsets.length === 2 &&
    offsets.every(isCount)
  );
}

/** The file, as f32, with the tensors in the given order. */
export function toSafetensors(weights: Weights, metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const header: Record<string, unknown> = Object.keys(metadata).length ? { __metadata__: metadata } : {};
  let offset = 0;
  for (const [name, { shape, data }] of weights) {
    header[name] = { dtype: 'F32', shape, data_offsets: [offset, (offset += data.byteLength)] };
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const headerBytes = Math.ceil(text.length / 8) * 8;
  const bytes = new Uint8Array(8 + headerBytes + offset).fill(0x20, 8, 8 + headerBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(text, 8);
  let at = 8 + headerBytes;
  for (const { data } of weights.values()) {
    bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), at);
    at += data.byteLength;
  }
  return bytes;
}
