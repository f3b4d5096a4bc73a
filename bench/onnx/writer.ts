/**
 * Writes ONNX files: the part of the format that image models need, from the numbers of onnx.proto3. For the tests and for
 * `bench/onnx/mobilenet.ts`; the program itself only reads such files.
 */
import protobuf from 'protobufjs';

const { root } = protobuf.parse(`
  syntax = "proto3";
  message Model { int64 ir_version = 1; string producer_name = 2; Graph graph = 7; repeated Opset opset_import = 8; }
  message Opset { string domain = 1; int64 version = 2; }
  message Graph {
    repeated Node node = 1; string name = 2; repeated Tensor initializer = 5;
    repeated ValueInfo input = 11; repeated ValueInfo output = 12;
  }
  message Node {
    repeated string input = 1; repeated string output = 2; string name = 3; string op_type = 4; repeated Attribute attribute = 5;
  }
  message Attribute {
    string name = 1; float f = 2; int64 i = 3; bytes s = 4; repeated float floats = 7; repeated int64 ints = 8; int32 type = 20;
  }
  message Tensor {
    repeated int64 dims = 1; int32 data_type = 2; string name = 8; bytes raw_data = 9;
    repeated Entry external_data = 13; int32 data_location = 14;
  }
  message Entry { string key = 1; string value = 2; }
  message ValueInfo { string name = 1; Type type = 2; }
  message Type { TensorType tensor_type = 1; }
  message TensorType { int32 elem_type = 1; Shape shape = 2; }
  message Shape { repeated Dimension dim = 1; }
  message Dimension { int64 dim_value = 1; string dim_param = 2; }
`);
const Model = root.lookupType('Model');

const ELEMENT = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, float16: 10 } as const;
const ATTRIBUTE = { float: 1, int: 2, string: 3, floats: 6, ints: 7 } as const;

export type ElementType = keyof typeof ELEMENT;

export interface Initializer {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
  /** Little-endian, as wide as the type; halves as 16-bit words. */
  readonly data: Float32Array | Uint16Array | Uint8Array | Int8Array | Int32Array | BigInt64Array;
}

export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Whole numbers become `int`s, other numbers `float`s. */
  readonly attributes?: Readonly<Record<string, number | string | readonly number[]>>;
}

export interface Port {
  readonly name: string;
  readonly type: ElementType;
  /** A name is a dimension of any size. */
  readonly shape: readonly (number | string)[];
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly initializers?: readonly Initializer[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
}

/** Where initializers lie when they are not in the file itself. */
export interface ExternalData {
  readonly location: string;
  /** What has to be written there. */
  readonly bytes: Uint8Array;
}

/** @param location of the initializers, beside the model; null keeps them in the file. */
export function onnxModel(
  { nodes, initializers = [], inputs, outputs }: Graph,
  location: string | null = null,
): { model: Uint8Array; external: ExternalData | null } {
  const parts: Uint8Array[] = [];
  let offset = 0;
  const tensors = initializers.map(({ name, type, dims, data }) => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const header = { name, dims, dataType: ELEMENT[type] };
    if (location === null) return { ...header, rawData: bytes };
    const entries = { location, offset, length: bytes.length };
    parts.push(bytes);
    offset += bytes.length;
    return {
      ...header,
      dataLocation: 1,
      externalData: Object.entries(entries).map(([key, value]) => ({ key, value: String(value) })),
    };
  });
  const graph = {
    name: 'lamina',
    node: nodes.map(({ op, inputs, outputs, attributes = {} }, i) => ({
      input: inputs,
      output: outputs,
      name: `${op}_${i}`,
      opType: op,
      attribute: Object.entries(attributes).map(attribute),
    })),
    initializer: tensors,
    input: inputs.map(valueInfo),
    output: outputs.map(valueInfo),
  };
  const message = { irVersion: 8, producerName: 'lamina', graph, opsetImport: [{ domain: '', version: 17 }] };
  const model = Model.encode(Model.fromObject(message)).finish();
  return { model, external: location === null ? null : { location, bytes: Buffer.concat(parts) } };
}

function attribute([name, value]: [string, number | string | readonly number[]]) {
  if (typeof value === 'string') return { name, s: Buffer.from(value), type: ATTRIBUTE.string };
  if (typeof value !== 'number') return { name, ints: value, type: ATTRIBUTE.ints };
  return Number.isInteger(value) ? { name, i: value, type: ATTRIBUTE.int } : { name, f: value, type: ATTRIBUTE.float };
}

function valueInfo({ name, type, shape }: Port) {
  const dim = shape.map((size) => (typeof size === 'number' ? { dimValue: size } : { dimParam: size }));
  return { name, type: { tensorType: { elemType: ELEMENT[type], shape: { dim } } } };
}
