/**
 * MobileNet v1 from the tfjs layers format to ONNX, up to the mean of `conv_pw_12`: 1024 numbers a patch of 224 px.
 *
 *     npx tsx bench/onnx/mobilenet.ts [folder of model.json] [out.onnx]
 *
 * Its input is RGB scaled to -1..1, (n, 3, 224, 224). The head is left out: a shard of the next layer is missing in
 * `data/models`.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { argv } from 'node:process';
import { fileURLToPath } from 'node:url';
import { type Initializer, type Node, onnxModel } from './writer.ts';

/** What an encoder has to be told about it; `encoder.json` beside the file. */
export const mobilenetRecipe = { size: 224, mpp: 0.5, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] } as const;

const LAST_BLOCK = 12;
const EPSILON = 0.001;
/** Blocks whose depthwise convolution halves the picture. */
const STRIDED = new Set([2, 4, 6, 12]);

/** @param folder with `model.json` and its shards. */
export async function mobilenetOnnx(folder: string): Promise<Uint8Array> {
  const shapes = await readShards(folder);
  const initializers: Initializer[] = [
    { name: 'zero', type: 'float32', dims: [], data: Float32Array.of(0) },
    { name: 'six', type: 'float32', dims: [], data: Float32Array.of(6) },
  ];
  const nodes: Node[] = [];
  let last = 'pixels';
  let channels = 3;

  function add(weight: string, dims: readonly number[], data: Float32Array): string {
    initializers.push({ name: weight, type: 'float32', dims, data });
    return weight;
  }

  /** Convolution, batch normalisation, ReLU6. */
  function layer(name: string, kernel: string, depthwise: boolean, stride: number): void {
    const { data, shape } = shapes.get(`${name}/${kernel}`)!;
    const [height, width, inputs, outputs] = shape as [number, number, number, number];
    const weights = depthwise
      ? transpose(data, height * width, inputs)
      : transpose(data, height * width * inputs, outputs);
    const ordered = depthwise ? weights : channelsFirst(weights, outputs, height * width, inputs);
    channels = depthwise ? inputs : outputs;
    const dims = depthwise ? [inputs, 1, height, width] : [outputs, inputs, height, width];
    // TensorFlow's `same` pads what stride 2 needs at the far side only.
    const near = height === 3 && stride === 1 ? 1 : 0;
    const far = height === 3 ? 1 : 0;
    nodes.push({
      op: 'Conv',
      inputs: [last, add(`${name}.weight`, dims, ordered)],
      outputs: [`${name}.out`],
      attributes: {
        kernel_shape: [height, width],
        strides: [stride, stride],
        pads: [near, near, far, far],
        group: depthwise ? inputs : 1,
      },
    });
    const normal = ['gamma', 'beta', 'moving_mean', 'moving_variance'].map((part) => {
      const { data } = shapes.get(`${name}_bn/${part}`)!;
      return add(`${name}.${part}`, [channels], data);
    });
    nodes.push({
      op: 'BatchNormalization',
      inputs: [`${name}.out`, ...normal],
      outputs: [`${name}.normal`],
      attributes: { epsilon: EPSILON },
    });
    nodes.push({ op: 'Clip', inputs: [`${name}.normal`, 'zero', 'six'], outputs: [`${name}.relu`] });
    last = `${name}.relu`;
  }

  layer('conv1', 'kernel', false, 2);
  for (let block = 1; block <= LAST_BLOCK; block++) {
    layer(`conv_dw_${block}`, 'depthwise_kernel', true, STRIDED.has(block) ? 2 : 1);
    layer(`conv_pw_${block}`, 'kernel', false, 1);
  }
  nodes.push({ op: 'GlobalAveragePool', inputs: [last], outputs: ['mean'] });
  nodes.push({ op: 'Flatten', inputs: ['mean'], outputs: ['features'] });
  return onnxModel({
    nodes,
    initializers,
    inputs: [{ name: 'pixels', type: 'float32', shape: ['batch', 3, 224, 224] }],
    outputs: [{ name: 'features', type: 'float32', shape: ['batch', channels] }],
  }).model;
}

interface Weight {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** The weights of the layers used; a shard that is not there belongs to a layer that is not. */
async function readShards(folder: string): Promise<Map<string, Weight>> {
  const { weightsManifest } = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8')) as {
    weightsManifest: { paths: string[]; weights: { name: string; shape: number[] }[] }[];
  };
  const found = new Map<string, Weight>();
  for (const { paths, weights } of weightsManifest) {
    const files = await Promise.all(paths.map((path) => readFile(join(folder, path)).catch(() => null)));
    if (files.some((file) => file === null)) continue;
    const bytes = Buffer.concat(files as Buffer[]);
    let offset = 0;
    for (const { name, shape } of weights) {
      const length = shape.reduce((product, size) => product * size, 1);
      const data = new Float32Array(length);
      for (let i = 0; i < length; i++) data[i] = bytes.readFloatLE(offset + 4 * i);
      found.set(name, { data, shape });
      offset += 4 * length;
    }
  }
  return found;
}

/** (rows, columns) to (columns, rows). */
function transpose(data: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!);
}

/** (outputs, area, inputs) to (outputs, inputs, area). */
function channelsFirst(data: Float32Array, outputs: number, area: number, inputs: number): Float32Array {
  const ordered = new Float32Array(data.length);
  for (let output = 0; output < outputs; output++) {
    const start = output * area * inputs;
    ordered.set(transpose(data.subarray(start, start + area * inputs), area, inputs), start);
  }
  return ordered;
}

if (argv[1] === fileURLToPath(import.meta.url)) {
  const [folder = '../shared/data/models/mobilenet_v1_1.0_224_tfjs', out = 'mobilenet.onnx'] = argv.slice(2);
  await writeFile(out, await mobilenetOnnx(folder));
  await writeFile(join(out, '..', 'encoder.json'), JSON.stringify(mobilenetRecipe, null, 2));
}
