/** A small network in ONNX for batches of synthetic slides: a convolution of large steps, and the mean of what it finds. */
import { writeFile } from 'node:fs/promises';
import { openEncoder } from '../../src/features/open-encoder.ts';
import { createRandom, normal } from '../../src/random.ts';
import { saveRandomModel } from '../../test/cli/random-model.ts';
import { type Graph, onnxModel } from './writer.ts';

const SIDE = 224;
const STEP = 16;
const WIDTH = 12;

function graph(): Graph {
  const random = createRandom(4);
  const data = Float32Array.from({ length: WIDTH * 3 * STEP * STEP }, () => normal(random) / 20);
  const attributes = { kernel_shape: [STEP, STEP], strides: [STEP, STEP] };
  return {
    nodes: [
      { op: 'Conv', inputs: ['pixels', 'weight'], outputs: ['map'], attributes },
      { op: 'Relu', inputs: ['map'], outputs: ['found'] },
      { op: 'GlobalAveragePool', inputs: ['found'], outputs: ['mean'] },
      { op: 'Flatten', inputs: ['mean'], outputs: ['features'] },
    ],
    initializers: [{ name: 'weight', type: 'float32', dims: [WIDTH, 3, STEP, STEP], data }],
    inputs: [{ name: 'pixels', type: 'float32', shape: ['n', 3, SIDE, SIDE] }],
    outputs: [{ name: 'features', type: 'float32', shape: ['n', WIDTH] }],
  };
}

/** Writes the network, and a model with random weights for its features. */
export async function saveSmallEncoder(path: string, model: string): Promise<void> {
  await writeFile(path, onnxModel(graph()).model);
  const encoder = await openEncoder(path, { threads: 1 });
  await encoder.close();
  await saveRandomModel(model, { input: encoder.dimension, encoder: encoder.id, patchPx: SIDE });
}
