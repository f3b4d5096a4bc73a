/**
 * PyTorch's zip files (`torch.save` since 1.6): a stored zip of a pickle and one raw file a storage. Bags and checkpoints alike.
 *
 * A pickle is a program. This reader knows only the instructions, and only the three kinds of names, that tensors in
 * dictionaries and lists need; it refuses everything else and runs nothing.
 */
import { crc32 } from 'node:zlib';
import { UserError } from '../errors.ts';
import { widenBrain, widenHalf } from './half.ts';

/** A tensor out of a file, or on its way into one. */
export interface TorchTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

export type TorchValue =
  | TorchTensor
  | ReadonlyMap<string, TorchValue>
  | readonly TorchValue[]
  | string
  | number
  | boolean
  | null;

interface StorageType {
  readonly bytes: number;
  readonly widen: (raw: ArrayBuffer) => Float32Array;
}

const storageTypes: ReadonlyMap<string, StorageType> = new Map([
  ['torch FloatStorage', { bytes: 4, widen: (raw: ArrayBuffer) => new Float32Array(raw) }],
  ['torch DoubleStorage', { bytes: 8, widen: (raw: ArrayBuffer) => Float32Array.from(new Float64Array(raw)) }],
  ['torch HalfStorage', { bytes: 2, widen: (raw: ArrayBuffer) => widenHalf(new Uint16Array(raw)) }],
  ['torch BFloat16Storage', { bytes: 2, widen: (raw: ArrayBuffer) => widenBrain(new Uint16Array(raw)) }],
  ['torch LongStorage', { bytes: 8, widen: (raw: ArrayBuffer) => Float32Array.from(new BigInt64Array(raw), Number) }],
  ['torch IntStorage', { bytes: 4, widen: (raw: ArrayBuffer) => Float32Array.from(new Int32Array(raw)) }],
]);

const REBUILD_TENSOR = 'torch._utils _rebuild_tensor_v2';
const ORDERED_DICT = 'collections OrderedDict';

/** The saved value, tensors widened to f32. @throws UserError `not-torch` naming `source`. */
export function readTorch(file: Uint8Array, source: string): TorchValue {
  // A Buffer of Node's would cut views where a Uint8Array cuts copies.
  const bytes = new Uint8Array(file.buffer, file.byteOffset, file.byteLength);
  const wrong: Complain = (what) =>
    new UserError(
      'not-torch',
      `${source}: ${what}.`,
      'Load it with PyTorch and save it again with torch.save: a tensor of features, or model.state_dict().',
    );
  if (isLegacy(bytes)) throw wrong('it was saved by PyTorch before 1.6, in a format that is not read here');
  const files = readStoredZip(bytes, wrong);
  const pickle = [...files.keys()].find((name) => name.endsWith('/data.pkl'));
  if (!pickle) throw wrong('there is no data.pkl inside');
  const folder = pickle.slice(0, -'data.pkl'.length);
  const order = files.get(`${folder}byteorder`);
  if (order && new TextDecoder().decode(order) !== 'little') throw wrong('it was written on a big-endian machine');
  return unpickle(files.get(pickle)!, (key) => files.get(`${folder}data/${key}`), wrong);
}

/** By the first eight bytes: as `torch.save` writes them, or wrote them before 1.6. */
export function isTorchFile(head: Uint8Array): boolean {
  return (head[0] === 0x50 && head[1] === 0x4b) || isLegacy(head);
}

/** A pickle of PyTorch's magic number, which stands alone before the others. */
const LEGACY = [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46];

function isLegacy(head: Uint8Array): boolean {
  return LEGACY.every((byte, i) => head[i] === byte);
}

export function isTensor(value: TorchValue | undefined): value is TorchTensor {
  return typeof value === 'object' && value !== null && 'data' in value && value.data instanceof Float32Array;
}

type Complain = (what: string) => UserError;

const END_OF_DIRECTORY = 0x06054b50;
const END_OF_DIRECTORY_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_FILE = 0x04034b50;
const ABSENT = 0xffffffff;

/** Files of a zip by name, without copying. */
function readStoredZip(bytes: Uint8Array, wrong: Complain): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const inside = (at: number, length: number) => {
    if (!(at >= 0 && at + length <= bytes.length))
      throw wrong('the zip directory points outside the file (cut short?)');
    return at;
  };
  const u16 = (at: number) => view.getUint16(inside(at, 2), true);
  const u32 = (at: number) => view.getUint32(inside(at, 4), true);
  const u64 = (at: number) => Number(view.getBigUint64(inside(at, 8), true));

  let end = bytes.length - 22;
  while (end >= 0 && end > bytes.length - 22 - 65536 && u32(end) !== END_OF_DIRECTORY) end--;
  if (end < 0 || u32(end) !== END_OF_DIRECTORY) {
    throw wrong('it is not a zip file, which torch.save has written since PyTorch 1.6');
  }
  let count = u16(end + 10);
  let at = u32(end + 16);
  if (end >= 20 && u32(end - 20) === LOCATOR_64) {
    const end64 = u64(end - 12);
    if (u32(end64) === END_OF_DIRECTORY_64) [count, at] = [u64(end64 + 32), u64(end64 + 48)];
  }

  const files = new Map<string, Uint8Array>();
  for (let i = 0; i < count; i++) {
    if (u32(at) !== DIRECTORY_ENTRY) throw wrong('the zip directory is damaged');
    const [nameLength, extraLength, commentLength] = [u16(at + 28), u16(at + 30), u16(at + 32)];
    const name = new TextDecoder().decode(bytes.subarray(inside(at + 46, nameLength), at + 46 + nameLength));
    if (u16(at + 10) !== 0) throw wrong(`"${name}" is compressed, which torch.save does not do`);
    const sizes = { size: u32(at + 24), compressed: u32(at + 20), offset: u32(at + 42) };
    readExtra64(at + 46 + nameLength, extraLength, sizes);
    if (u32(sizes.offset) !== LOCAL_FILE) throw wrong('the zip directory is damaged');
    const data = sizes.offset + 30 + u16(sizes.offset + 26) + u16(sizes.offset + 28);
    files.set(name, bytes.subarray(inside(data, sizes.size), data + sizes.size));
    at += 46 + nameLength + extraLength + commentLength;
  }
  return files;

  /** Sizes over 4 GiB stand in an extra field, in this order, those that were absent before. */
  function readExtra64(from: number, length: number, sizes: Record<'size' | 'compressed' | 'offset', number>): void {
    for (let field = from; field + 4 <= from + length; field += 4 + u16(field + 2)) {
      if (u16(field) !== 1) continue;
      let next = field + 4;
      for (const key of ['size', 'compressed', 'offset'] as const) {
        if (sizes[key] !== ABSENT) continue;
        sizes[key] = u64(next);
        next += 8;
      }
    }
  }
}

/** A name that the pickle brought onto the stack; it stands for itself and does nothing. */
class Global {
  constructor(readonly name: string) {}
}

/** A tensor's elements: the raw file and how to read it. */
class RawStorage {
  constructor(
    readonly type: StorageType,
    readonly bytes: Uint8Array,
  ) {}
}

class Mark {}

type Item = Global | RawStorage | Mark | Map<Item, Item> | Item[] | TorchTensor | string | number | boolean | null;

function unpickle(pickle: Uint8Array, fileOf: (key: string) => Uint8Array | undefined, wrong: Complain): TorchValue {
  const view = new DataView(pickle.buffer, pickle.byteOffset, pickle.byteLength);
  const text = new TextDecoder();
  const stack: Item[] = [];
  const memo = new Map<number, Item>();
  let at = 0;

  const take = (length: number): number => {
    if (!(length >= 0 && at + length <= pickle.length)) throw wrong('data.pkl ends too early');
    return (at += length) - length;
  };
  const u8 = () => view.getUint8(take(1));
  const u32 = () => view.getUint32(take(4), true);
  const string = (length: number) => text.decode(pickle.subarray(take(length), at));
  const line = () => {
    const end = pickle.indexOf(10, at);
    if (end < 0) throw wrong('data.pkl ends too early');
    return string(end + 1 - at).slice(0, -1);
  };
  const pop = (): Item => {
    if (stack.length === 0) throw wrong('data.pkl is damaged');
    return stack.pop()!;
  };
  const top = (): Item => {
    if (stack.length === 0) throw wrong('data.pkl is damaged');
    return stack.at(-1)!;
  };
  const popToMark = (): Item[] => {
    const mark = stack.findLastIndex((item) => item instanceof Mark);
    if (mark < 0) throw wrong('data.pkl is damaged');
    return stack.splice(mark).slice(1);
  };
  const setItems = (pairs: readonly Item[]) => {
    const dict = top();
    if (!(dict instanceof Map)) throw wrong('data.pkl is damaged');
    for (let i = 0; i + 1 < pairs.length; i += 2) dict.set(pairs[i]!, pairs[i + 1]!);
  };
  const append = (items: readonly Item[]) => {
    const list = top();
    if (!Array.isArray(list)) throw wrong('data.pkl is damaged');
    for (const item of items) list.push(item);
  };
  const global = (name: string): Global => {
    if (name !== REBUILD_TENSOR && name !== ORDERED_DICT && !storageTypes.has(name)) {
      throw wrong(`it wants to run "${name}", and only tensors in plain dictionaries and lists are read`);
    }
    return new Global(name);
  };
  const call = (callee: Item, given: Item): Item => {
    if (!(callee instanceof Global) || !Array.isArray(given)) throw wrong('data.pkl is damaged');
    if (callee.name === ORDERED_DICT) return new Map();
    if (callee.name === REBUILD_TENSOR) return rebuildTensor(given, wrong);
    throw wrong(`data.pkl calls "${callee.name}"`);
  };
  const storage = (id: Item): RawStorage => {
    const [kind, type, key] = Array.isArray(id) ? id : [];
    const storageType = type instanceof Global ? storageTypes.get(type.name) : undefined;
    const bytes = typeof key === 'string' ? fileOf(key) : undefined;
    if (kind !== 'storage' || !storageType || !bytes) throw wrong('a tensor has no data in the file');
    return new RawStorage(storageType, bytes);
  };
  const long = (length: number): number => {
    if (length > 8) throw wrong('data.pkl holds a number of more than 64 bits');
    let value = 0n;
    for (let i = 0; i < length; i++) value |= BigInt(u8()) << BigInt(8 * i);
    return Number(BigInt.asIntN(8 * length, value));
  };

  const instructions: Readonly<Record<number, () => void>> = {
    128: () => void u8(), // PROTO
    99: () => stack.push(global(`${line()} ${line()}`)), // GLOBAL
    113: () => memo.set(u8(), top()), // BINPUT
    114: () => memo.set(u32(), top()), // LONG_BINPUT
    104: () => stack.push(remembered(u8())), // BINGET
    106: () => stack.push(remembered(u32())), // LONG_BINGET
    40: () => stack.push(new Mark()), // MARK
    41: () => stack.push([]), // EMPTY_TUPLE
    93: () => stack.push([]), // EMPTY_LIST
    125: () => stack.push(new Map()), // EMPTY_DICT
    116: () => stack.push(popToMark()), // TUPLE
    133: () => stack.push([pop()]), // TUPLE1
    134: () => stack.push([pop(), pop()].reverse()), // TUPLE2
    135: () => stack.push([pop(), pop(), pop()].reverse()), // TUPLE3
    88: () => stack.push(string(u32())), // BINUNICODE
    75: () => stack.push(u8()), // BININT1
    77: () => stack.push(view.getUint16(take(2), true)), // BININT2
    74: () => stack.push(view.getInt32(take(4), true)), // BININT
    138: () => stack.push(long(u8())), // LONG1
    71: () => stack.push(view.getFloat64(take(8))), // BINFLOAT
    136: () => stack.push(true), // NEWTRUE
    137: () => stack.push(false), // NEWFALSE
    78: () => stack.push(null), // NONE
    81: () => stack.push(storage(pop())), // BINPERSID
    82: () => stack.push(call(...([pop(), pop()].reverse() as [Item, Item]))), // REDUCE
    115: () => setItems([pop(), pop()].reverse()), // SETITEM
    117: () => setItems(popToMark()), // SETITEMS
    97: () => append([pop()]), // APPEND
    101: () => append(popToMark()), // APPENDS
    98: () => void pop(), // BUILD: attributes of an OrderedDict, which say nothing of the weights
  };
  const remembered = (key: number): Item => {
    if (!memo.has(key)) throw wrong('data.pkl is damaged');
    return memo.get(key)!;
  };

  for (;;) {
    const opcode = u8();
    if (opcode === 0x2e) return toValue(pop(), wrong); // STOP
    const instruction = instructions[opcode];
    if (!instruction) {
      throw wrong(
        `data.pkl has the instruction 0x${opcode.toString(16)}, and only tensors in plain dictionaries and lists are read`,
      );
    }
    instruction();
  }
}

/** (storage, offset, sizes, strides, ...): copied out row by row, whatever the strides. */
function rebuildTensor(given: readonly Item[], wrong: Complain): TorchTensor {
  const [storage, offset, sizes, strides] = given;
  const isCounts = (value: unknown): value is number[] =>
    Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!(storage instanceof RawStorage) || !isCounts([offset]) || !isCounts(sizes) || !isCounts(strides)) {
    throw wrong('a tensor is described in an unknown way');
  }
  const { type, bytes } = storage;
  const length = sizeOf(sizes);
  const last = sizes.reduce((sum, n, i) => sum + (n - 1) * strides[i]!, offset as number);
  if (sizes.length !== strides.length || (length > 0 && (last + 1) * type.bytes > bytes.length)) {
    throw wrong(`a tensor [${sizes}] is larger than its data`);
  }
  const contiguous = strides.every((stride, i) => sizes[i] === 1 || stride === sizeOf(sizes.slice(i + 1)));
  const first = (offset as number) * type.bytes;
  if (contiguous) return { shape: sizes, data: type.widen(bytes.slice(first, first + length * type.bytes).buffer) };
  if (length * type.bytes > bytes.length) throw wrong(`a tensor [${sizes}] repeats its data`);
  const all = type.widen(bytes.slice(0, bytes.length - (bytes.length % type.bytes)).buffer);
  const data = new Float32Array(length);
  for (let i = 0; i < length; i++) {
    let [rest, from] = [i, offset as number];
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      from += (rest % sizes[axis]!) * strides[axis]!;
      rest = Math.floor(rest / sizes[axis]!);
    }
    data[i] = all[from]!;
  }
  return { shape: sizes, data };
}

/** What may leave the reader; `done` keeps shared parts shared and finds a part that holds itself. */
function toValue(item: Item, wrong: Complain, done = new Map<Item, TorchValue | undefined>()): TorchValue {
  if (item instanceof Global || item instanceof RawStorage || item instanceof Mark) throw wrong('data.pkl is damaged');
  if (!(item instanceof Map || Array.isArray(item))) return item;
  if (done.has(item)) {
    const value = done.get(item);
    if (value === undefined) throw wrong('data.pkl holds something inside itself');
    return value;
  }
  done.set(item, undefined);
  const value =
    item instanceof Map
      ? new Map([...item].map(([key, part]) => [String(key), toValue(part, wrong, done)]))
      : item.map((part) => toValue(part, wrong, done));
  done.set(item, value);
  return value;
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/**
 * A file that `torch.load` opens, also with `weights_only`: one f32 tensor, or an ordered dictionary of them.
 * As `torch.save` does it, each tensor's numbers begin at a multiple of 64 bytes.
 */
export function toTorch(value: TorchTensor | ReadonlyMap<string, TorchTensor>): Uint8Array {
  const tensors = 'data' in value ? [value] : [...value.values()];
  const pickle = 'data' in value ? [...tensorCode(value, 0)] : dictionaryCode(value);
  const files: [name: string, data: Uint8Array][] = [
    ['archive/data.pkl', Buffer.concat([Buffer.from([0x80, 2]), ...pickle, Buffer.from('.')])],
    ['archive/byteorder', Buffer.from('little')],
    ...tensors.map(({ data }, i): [string, Uint8Array] => [
      `archive/data/${i}`,
      new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
    ]),
    ['archive/version', Buffer.from('3\n')],
  ];
  return storedZip(files);
}

/** Instructions that leave an OrderedDict on the stack. */
function dictionaryCode(tensors: ReadonlyMap<string, TorchTensor>): Uint8Array[] {
  const items = [...tensors].flatMap(([name, tensor], i) => [textCode(name), ...tensorCode(tensor, i)]);
  return [Buffer.from(`c${ORDERED_DICT.replace(' ', '\n')}\n)R(`), ...items, Buffer.from('u')];
}

/** Instructions that leave a tensor on the stack: its storage by number, offset 0, sizes, strides, no gradient, no hooks. */
function tensorCode({ shape, data }: TorchTensor, key: number): Uint8Array[] {
  const strides = shape.map((_, i) => sizeOf(shape.slice(i + 1)));
  return [
    Buffer.from(`c${REBUILD_TENSOR.replace(' ', '\n')}\n((`),
    textCode('storage'),
    Buffer.from('ctorch\nFloatStorage\n'),
    textCode(`${key}`),
    textCode('cpu'),
    countCode(data.length),
    Buffer.from('tQ'),
    countCode(0),
    Buffer.concat([Buffer.from('('), ...shape.map(countCode), Buffer.from('t')]),
    Buffer.concat([Buffer.from('('), ...strides.map(countCode), Buffer.from('t')]),
    Buffer.from([0x89]),
    Buffer.from(`c${ORDERED_DICT.replace(' ', '\n')}\n)RtR`),
  ];
}

function textCode(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  const head = Buffer.from('X....');
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

/** LONG1 of eight bytes: any count there is. */
function countCode(value: number): Uint8Array {
  const code = Buffer.alloc(10);
  code.set([0x8a, 8]);
  code.writeBigInt64LE(BigInt(value), 2);
  return code;
}

const ALIGNMENT = 64;

function storedZip(files: readonly (readonly [name: string, data: Uint8Array])[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of files) {
    if (offset + data.length > ABSENT) throw new RangeError('files of more than 4 GiB are not written');
    const nameBytes = Buffer.from(name);
    // An extra field of zeros (its own head takes four bytes) moves the data to the next multiple.
    const unaligned = offset + 30 + nameBytes.length + 4;
    const padding = Buffer.alloc(4 + ((ALIGNMENT - (unaligned % ALIGNMENT)) % ALIGNMENT));
    padding.write('FB', 'latin1');
    padding.writeUInt16LE(padding.length - 4, 2);
    const local = Buffer.alloc(30);
    local.writeUInt32LE(LOCAL_FILE, 0);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(DIRECTORY_ENTRY, 0);
    for (const [head, at] of [
      [local, 14],
      [entry, 16],
    ] as const) {
      head.writeUInt32LE(crc32(data), at);
      head.writeUInt32LE(data.length, at + 4);
      head.writeUInt32LE(data.length, at + 8);
      head.writeUInt16LE(nameBytes.length, at + 12);
    }
    local.writeUInt16LE(padding.length, 28);
    entry.writeUInt32LE(offset, 42);
    parts.push(local, nameBytes, padding, data);
    directory.push(entry, nameBytes);
    offset += local.length + nameBytes.length + padding.length + data.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END_OF_DIRECTORY, 0);
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(listing.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, listing, end]);
}
