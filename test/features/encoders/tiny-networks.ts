/** Small ONNX networks whose features one can work out by hand. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { type Graph, type Initializer, type Node, onnxModel, type Port } from '../../../bench/onnx/writer.ts';
import { createRandom, normal } from '../../../src/random.ts';

/** Side of their pictures, and of the squares that become tokens. */
export const SIDE = 32;
export const SQUARE = 8;
export const TOKENS = (SIDE / SQUARE) ** 2;
export const WIDTH = 5;
export const REGISTERS = 2;

/** Registers hold this, so that they are missed when they are not skipped. */
export const REGISTER_VALUE = 1000;

const port = (name: string, shape: Port['shape'], type: Port['type'] = 'float32'): Port => ({ name, shape, type });
const pixels = (type: Port['type'] = 'float32', batch: number | string = 'n') =>
  port('pixels', [batch, 3, SIDE, SIDE], type);
const ints = (name: string, values: number[]): Initializer => ({
  name,
  type: 'int64',
  dims: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const floats = (name: string, dims: number[], data: Float32Array): Initializer => ({
  name,
  type: 'float32',
  dims,
  data,
});
const MEAN: readonly Node[] = [
  { op: 'GlobalAveragePool', inputs: ['pixels'], outputs: ['mean'] },
  { op: 'Flatten', inputs: ['mean'], outputs: ['features'] },
];

/** The mean of each channel: (n, 3). */
export function channelMeans(type: 'float32' | 'float16' = 'float32', batch: number | string = 'n'): Graph {
  return { nodes: MEAN, inputs: [pixels(type, batch)], outputs: [port('features', [batch, 3], type)] };
}

/** The same of (n, h, w, 3). */
export function channelMeansLast(type: 'float32' | 'uint8' = 'float32'): Graph {
  return {
    nodes: [
      { op: 'Cast', inputs: ['pixels'], outputs: ['floats'], attributes: { to: 1 } },
      { op: 'ReduceMean', inputs: ['floats'], outputs: ['features'], attributes: { axes: [1, 2], keepdims: 0 } },
    ],
    inputs: [port('pixels', ['n', SIDE, SIDE, 3], type)],
    outputs: [port('features', ['n', 3])],
  };
}

/** Weights of the squares' embedding: WIDTH x 3 x SQUARE x SQUARE. */
export const embedding = (() => {
  const random = createRandom(5);
  return Float32Array.from({ length: WIDTH * 3 * SQUARE * SQUARE }, () => normal(random) / 20);
})();

const EMBED: Node = {
  op: 'Conv',
  inputs: ['pixels', 'embedding'],
  outputs: ['map'],
  attributes: { kernel_shape: [SQUARE, SQUARE], strides: [SQUARE, SQUARE] },
};
const embeddingTensor = floats('embedding', [WIDTH, 3, SQUARE, SQUARE], embedding);

/** A map of features, (n, WIDTH, rows, columns). */
export const featureMap: Graph = {
  nodes: [EMBED],
  initializers: [embeddingTensor],
  inputs: [pixels()],
  outputs: [port('map', ['n', WIDTH, SIDE / SQUARE, SIDE / SQUARE])],
};

/** The same with the width last, (n, rows, columns, WIDTH), of pictures as PyTorch has them. */
export const featureMapLast: Graph = {
  nodes: [EMBED, { op: 'Transpose', inputs: ['map'], outputs: ['last'], attributes: { perm: [0, 2, 3, 1] } }],
  initializers: [embeddingTensor],
  inputs: [pixels()],
  outputs: [port('last', ['n', SIDE / SQUARE, SIDE / SQUARE, WIDTH])],
};

/** As `featureMapLast`, of pictures (n, h, w, 3). */
export const allLast: Graph = {
  ...featureMapLast,
  nodes: [
    { op: 'Transpose', inputs: ['picture'], outputs: ['pixels'], attributes: { perm: [0, 3, 1, 2] } },
    ...featureMapLast.nodes,
  ],
  inputs: [port('picture', ['n', SIDE, SIDE, 3])],
};

/**
 * A class token (twice the first square's), registers and the squares' tokens: (n, 1 + REGISTERS + TOKENS, WIDTH) as
 * `last_hidden_state`, with a `pooler_output` beside it that is something else.
 */
export const tokens: Graph = {
  nodes: [
    EMBED,
    { op: 'Reshape', inputs: ['map', 'rows'], outputs: ['columns'] },
    { op: 'Transpose', inputs: ['columns'], outputs: ['squares'], attributes: { perm: [0, 2, 1] } },
    { op: 'Slice', inputs: ['squares', 'zero', 'one', 'second'], outputs: ['first'] },
    { op: 'Add', inputs: ['first', 'first'], outputs: ['class'] },
    { op: 'Slice', inputs: ['squares', 'zero', 'registers', 'second'], outputs: ['some'] },
    { op: 'Sub', inputs: ['some', 'some'], outputs: ['nothing'] },
    { op: 'Add', inputs: ['nothing', 'large'], outputs: ['register'] },
    { op: 'Concat', inputs: ['class', 'register', 'squares'], outputs: ['last_hidden_state'], attributes: { axis: 1 } },
    { op: 'ReduceMax', inputs: ['squares'], outputs: ['pooler_output'], attributes: { axes: [1], keepdims: 0 } },
  ],
  initializers: [
    embeddingTensor,
    ints('rows', [0, WIDTH, TOKENS]),
    ints('zero', [0]),
    ints('one', [1]),
    // The axis that is cut.
    ints('second', [1]),
    ints('registers', [REGISTERS]),
    floats('large', [1], Float32Array.of(REGISTER_VALUE)),
  ],
  inputs: [pixels()],
  outputs: [port('last_hidden_state', ['n', 1 + REGISTERS + TOKENS, WIDTH]), port('pooler_output', ['n', WIDTH])],
};
/** `featureMap` with its weights in 8 bits and a scale, as quantised files have them; the scale is that of the weights. */
export function quantisedMap(): { graph: Graph; scale: number } {
  const scale = Math.max(...embedding.map(Math.abs)) / 127;
  const data = Int8Array.from(embedding, (value) => Math.round(value / scale));
  return {
    scale,
    graph: {
      ...featureMap,
      nodes: [{ op: 'DequantizeLinear', inputs: ['bytes', 'scale', 'middle'], outputs: ['embedding'] }, EMBED],
      initializers: [
        { name: 'bytes', type: 'int8', dims: [WIDTH, 3, SQUARE, SQUARE], data },
        floats('scale', [], Float32Array.of(scale)),
        { name: 'middle', type: 'int8', dims: [], data: Int8Array.of(0) },
      ],
    },
  };
}

/** Features that are not finite. */
export const overflowing: Graph = {
  ...channelMeans(),
  nodes: [
    MEAN[0]!,
    { op: 'Flatten', inputs: ['mean'], outputs: ['flat'] },
    { op: 'Div', inputs: ['flat', 'zero'], outputs: ['features'] },
  ],
  initializers: [floats('zero', [1], Float32Array.of(0))],
};

export const flatInput: Graph = {
  nodes: [{ op: 'Identity', inputs: ['pixels'], outputs: ['features'] }],
  inputs: [port('pixels', ['n', 3072])],
  outputs: [port('features', ['n', 3072])],
};

/** A folder for the tests of a file, and networks written into it. */
export async function networkFolder() {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-onnx-'));
  afterAll(() => rm(folder, { recursive: true }));
  return {
    folder,
    async write(name: string, graph: Graph, external: string | null = null): Promise<string> {
      const path = join(folder, name);
      const { model, external: data } = onnxModel(graph, external);
      await writeFile(path, model);
      if (data) await writeFile(join(path, '..', data.location), data.bytes);
      return path;
    },
  };
}
