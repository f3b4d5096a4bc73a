/**
 * Looks into an ONNX file before onnxruntime does, which says "protobuf parsing failed" of everything it cannot read: whether it
 * is one, whether it is whole, which files of weights lie beside it; and hashes all of them.
 *
 * Protocol buffers: a field is a number with a wire type, and a value; messages and byte strings carry their length.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { UserError } from '../../errors.ts';

export interface OnnxFile {
  readonly path: string;
  /** Of the file and its external data. */
  readonly bytes: number;
  /** Names of the files beside it that hold its weights; they are there. */
  readonly externalData: readonly string[];
  /** sha256 of the file and its external data. */
  readonly hash: string;
}

const VARINT = 0;
const EIGHT_BYTES = 1;
const LENGTH = 2;
const FOUR_BYTES = 5;

const MODEL = { irVersion: 1, graph: 7 };
const GRAPH = { initializer: 5 };
const TENSOR = { externalData: 13 };
const ENTRY = { key: 1, value: 2 };

/** @throws UserError `no-weights`, `not-onnx`, `truncated-onnx`, `external-data-missing` */
export async function inspectOnnx(path: string): Promise<OnnxFile> {
  const { size } = await stat(path).catch((cause) => {
    const hint = 'Check the path of --encoder or --weights.';
    throw new UserError('no-weights', `${path}: the weights file cannot be read (${cause.code}).`, hint, { cause });
  });
  const externalData = await externalDataOf(path);
  const sizes = await Promise.all(externalData.map((name) => externalSize(path, name)));
  const files = [path, ...externalData.map((name) => join(dirname(path), name))];
  return { path, bytes: sizes.reduce((sum, one) => sum + one, size), externalData, hash: await hashFiles(files) };
}

/** What people give in its stead, told by its first bytes. */
async function refuseOthers(path: string, handle: FileHandle, size: number): Promise<void> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
  const head = buffer.subarray(0, bytesRead);
  const text = head.toString('latin1');
  const not = (what: string, hint: string) => new UserError('not-onnx', `${path}: ${what}.`, hint);
  const again = 'Download it again.';
  if (size === 0) throw not('the file is empty', again);
  if (text.startsWith('version https://git-lfs')) {
    throw not('this is the pointer that Git LFS leaves, not the weights', 'Fetch them with: git lfs pull');
  }
  if (/^\s*</.test(text)) throw not('this is a web page, not weights', again);
  const isZip = text.startsWith('PK');
  const isPickle = head[0] === 0x80 && head[1]! <= 5;
  const isSafetensors = size > 8 && text[8] === '{';
  if (isZip || isPickle || isSafetensors) {
    const what = isSafetensors ? 'these are safetensors' : 'this is a PyTorch checkpoint';
    throw not(`${what}, not an ONNX file`, 'Export the network to ONNX first: docs/encoders.md has the commands.');
  }
}

/** Names of the files beside an ONNX file that hold its weights, whether they are there or not. */
export async function externalDataOf(path: string): Promise<string[]> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    await refuseOthers(path, handle, size);
    return [...(await externalNames(new FieldReader(path, handle, size), size))].sort();
  } finally {
    await handle.close();
  }
}

/** Walks model, graph and initializers for the locations of external data. */
async function externalNames(reader: FieldReader, size: number): Promise<Set<string>> {
  const names = new Set<string>();
  let hasVersion = false;
  let hasGraph = false;
  await reader.fields(0, size, async (field, wire, start, end) => {
    if (field === MODEL.irVersion && wire === VARINT) hasVersion = true;
    if (field !== MODEL.graph || wire !== LENGTH) return;
    if (!hasVersion) throw reader.foreign();
    hasGraph = true;
    await reader.fields(start, end, async (field, wire, start, end) => {
      if (field !== GRAPH.initializer || wire !== LENGTH) return;
      await reader.fields(start, end, async (field, wire, start, end) => {
        if (field !== TENSOR.externalData || wire !== LENGTH) return;
        const entry: Record<number, string> = {};
        await reader.fields(start, end, async (field, _, start, end) => {
          entry[field] = await reader.text(start, end);
        });
        if (entry[ENTRY.key] === 'location') names.add(entry[ENTRY.value] ?? '');
      });
    });
  });
  if (!hasGraph) throw reader.foreign();
  return names;
}

type OnField = (field: number, wire: number, start: number, end: number) => Promise<void>;

class FieldReader {
  readonly #path: string;
  readonly #handle: FileHandle;
  readonly #size: number;
  readonly #window = Buffer.alloc(65536);
  #from = 0;
  #to = 0;

  constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.#size = size;
  }

  foreign(): UserError {
    const problem = `${this.#path}: this is not an ONNX file.`;
    return new UserError('not-onnx', problem, 'Export the network to ONNX: docs/encoders.md has the commands.');
  }

  /** Calls `onField` for each field of the message from `start` to `end`; values of one go from its `start` to its `end`. */
  async fields(start: number, end: number, onField: OnField): Promise<void> {
    for (let at = start; at < end; ) {
      const tag = await this.#varint(at);
      const [field, wire] = [Math.floor(tag.value / 8), tag.value % 8];
      if (field === 0) throw this.foreign();
      let [from, to] = [tag.end, tag.end];
      if (wire === VARINT) to = (await this.#varint(from)).end;
      else if (wire === EIGHT_BYTES) to += 8;
      else if (wire === FOUR_BYTES) to += 4;
      else if (wire === LENGTH) {
        const length = await this.#varint(from);
        [from, to] = [length.end, length.end + length.value];
      } else throw this.foreign();
      if (to > this.#size) throw this.#truncated(to);
      if (to > end) throw this.foreign();
      await onField(field, wire, from, to);
      at = to;
    }
  }

  async text(start: number, end: number): Promise<string> {
    const bytes = Buffer.alloc(Math.min(end - start, 4096));
    await this.#handle.read(bytes, 0, bytes.length, start);
    return bytes.toString('utf8');
  }

  async #varint(at: number): Promise<{ value: number; end: number }> {
    let value = 0;
    for (let i = 0; i < 10; i++) {
      const byte = await this.#byte(at + i);
      value += (byte & 127) * 2 ** (7 * i);
      if (byte < 128) return { value, end: at + i + 1 };
    }
    throw this.foreign();
  }

  async #byte(at: number): Promise<number> {
    if (at < this.#from || at >= this.#to) {
      const { bytesRead } = await this.#handle.read(this.#window, 0, this.#window.length, at);
      if (bytesRead === 0) throw this.#truncated(at + 1);
      [this.#from, this.#to] = [at, at + bytesRead];
    }
    return this.#window[at - this.#from]!;
  }

  #truncated(wanted: number): UserError {
    const problem = `${this.#path}: the file ends too early, at ${this.#size} of at least ${wanted} bytes.`;
    return new UserError('truncated-onnx', problem, 'Download or export it again.');
  }
}

async function externalSize(path: string, name: string): Promise<number> {
  // A name with a path in it could point anywhere.
  const found = name === basename(name) ? await stat(join(dirname(path), name)).catch(() => null) : null;
  if (found) return found.size;
  const problem = `${path}: its weights are in a file of their own, ${name}, which is not beside it.`;
  throw new UserError('external-data-missing', problem, `Put ${basename(name)} into ${dirname(path)}.`);
}

async function hashFiles(files: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) {
    const handle = await open(file);
    for await (const chunk of handle.createReadStream({ highWaterMark: 1 << 20 })) hash.update(chunk);
  }
  return hash.digest('hex');
}
