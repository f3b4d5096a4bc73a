/** What a run needs that takes long enough to be watched: a network that convolves far more than its features are worth. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Initializer, type Node, onnxModel } from '../../bench/onnx/writer.ts';
import { writeSyntheticSlide } from '../../datasets/synthetic/slide.ts';
import { createRandom, normal } from '../../src/random.ts';
import { saveRandomModel } from '../cli/random-model.ts';

const CHANNELS = 48;
const SIDE = 128;
const LAYERS = 4;

export interface SlowRun {
  /** `lamina run …` of a slide, `first` of 220 patches or `second` of 45, or of both; some fifteen seconds and three. */
  arguments(slide: 'first' | 'second' | 'both', out: string, ...more: string[]): string[];
}

/** Two synthetic slides, the network and an LBMamba model for its features, in a folder. */
export async function prepareSlowRun(folder: string): Promise<SlowRun> {
  const [slides, network, model] = ['slides', 'encoder/slow.onnx', 'model'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  await mkdir(slides);
  await mkdir(join(folder, 'encoder'));
  for (const [seed, name] of [
    [3, 'first'],
    [5, 'second'],
  ] as const) {
    const size = name === 'first' ? { widthPx: 3072, heightPx: 2304 } : { widthPx: 1280, heightPx: 1024 };
    await writeSyntheticSlide(join(slides, `${name}.svs`), { seed, ...size, tumour: true });
  }
  await writeFile(network, slowNetwork());
  const recipe = { size: SIDE, patchPx: SIDE, mpp: 0.5, mean: [0.7, 0.6, 0.7], std: [0.2, 0.2, 0.2] };
  await writeFile(join(folder, 'encoder/encoder.json'), JSON.stringify(recipe));
  await saveRandomModel(model, { input: CHANNELS, encoder: null, patchMpp: 0.5, patchPx: SIDE, trained: true });
  const fixed = ['--model', model, '--encoder', network, '--device', 'wasm', '--threads', '1', '--batch', '8'];
  const named = (slide: string) => (slide === 'both' ? slides : join(slides, `${slide}.svs`));
  return { arguments: (slide, out, ...more) => ['run', named(slide), ...fixed, '--out', out, ...more] };
}

/** Convolutions of random weights at full resolution, then the mean of each channel. */
function slowNetwork(): Uint8Array {
  const random = createRandom(11);
  const initializers: Initializer[] = [];
  const nodes: Node[] = [];
  let last = 'pixels';
  for (let layer = 0; layer < LAYERS; layer++) {
    const inputs = layer === 0 ? 3 : CHANNELS;
    const count = CHANNELS * inputs * 9;
    const data = Float32Array.from({ length: count }, () => normal(random) / Math.sqrt(4.5 * inputs));
    initializers.push({ name: `w${layer}`, type: 'float32', dims: [CHANNELS, inputs, 3, 3], data });
    nodes.push(
      {
        op: 'Conv',
        inputs: [last, `w${layer}`],
        outputs: [`c${layer}`],
        attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] },
      },
      { op: 'Relu', inputs: [`c${layer}`], outputs: [`r${layer}`] },
    );
    last = `r${layer}`;
  }
  nodes.push(
    { op: 'GlobalAveragePool', inputs: [last], outputs: ['mean'] },
    { op: 'Flatten', inputs: ['mean'], outputs: ['features'] },
  );
  return onnxModel({
    nodes,
    initializers,
    inputs: [{ name: 'pixels', shape: ['n', 3, SIDE, SIDE], type: 'float32' }],
    outputs: [{ name: 'features', shape: ['n', CHANNELS], type: 'float32' }],
  }).model;
}
