/** Blocks, whole bag models, training trajectories, the patch encoder. */
import type { Device } from '../../src/kernels/device.ts';
import { crossEntropy } from '../../src/kernels/loss.ts';
import { Adam } from '../../src/kernels/optimizer.ts';
import { Parameters } from '../../src/kernels/parameters.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import { createModel, modelKinds as registry } from '../../src/mil/create-model.ts';
import { createLbVim, type LbVimConfig, lbVimShapes } from '../../src/mil/lbvim.ts';
import { type BlockType, blockShapes, blockWeights, mambaBlock } from '../../src/mil/mamba-block.ts';
import type { BagOutput } from '../../src/mil/model.ts';
import type { MambaMilConfig, ModelConfig, PoolingType } from '../../src/mil/model-card.ts';
import type { HostTensor, Weights } from '../../src/mil/safetensors.ts';
import { BAG_RANGE, hashParameter, hashUniform } from './hash-rule.ts';
import type { Bench, Outputs, Runner } from './run-case.ts';
import { packedOffsets } from './scan-cases.ts';

const PARAMETER = 'param.';

/** The parameters of a case: stored with it, stored with another, or by the hash rule. */
async function weightsOf(bench: Bench): Promise<Weights> {
  const { name, file, params_at: at = name, config, param_seed: seed } = bench.case;
  const stored = await bench.golden.tensors(file);
  const keys = Object.keys(bench.case.inputs ?? {}).filter((input) => input.startsWith(PARAMETER));
  return new Map(
    keys.map((input) => {
      const key = input.slice(PARAMETER.length);
      const shape = bench.case.inputs![input]!;
      const tensor = stored.get(`${at}/in/${input}`) ?? hashParameter(config.name, key, shape, seed);
      return [key, tensor];
    }),
  );
}

/** A bag of a model: stored, or by the hash rule. */
function bagOf(bench: Bench, input: string, index: number): HostTensor {
  const { config, param_seed: seed } = bench.case;
  const shape = bench.case.inputs![input]!;
  const n = shape[0]! * shape[1]!;
  const stored = bench.input(input);
  return stored ?? { shape, data: hashUniform(`${config.name}.bag${index}`, seed, n, -BAG_RANGE, BAG_RANGE) };
}

/** Gradients of all parameters as the case wants them: whole, or as norm and samples. */
async function parameterGradients(bench: Bench, parameters: Parameters): Promise<Outputs> {
  const outputs: Record<string, ArrayLike<number>> = {};
  for (const name of parameters.tensors.keys()) {
    const gradient = await bench.device.read(parameters.gradient(name));
    outputs[`grad.${name}`] = gradient;
    outputs[`gradl2.${name}`] = [Math.sqrt(gradient.reduce((sum, g) => sum + g * g, 0))];
    outputs[`gradsample.${name}`] = Array.from({ length: 64 }, (_, j) => gradient[(j * 2654435761) % gradient.length]!);
  }
  return outputs;
}

function classNames(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `class ${i}`);
}

const block: Runner = async (bench) => {
  const { B, L, d_model: width, d_state: state, d_conv: conv, expand } = bench.case.dims;
  // Ten where the case says nothing, as models have it.
  const { K, cu_seqlens: cu } = bench.case;
  const rate = bench.case.rate ?? 10;
  const type = bench.case.type.toLowerCase() as BlockType;
  const parameters = Parameters.create(bench.device, new Map(blockShapes('', type, { width, state, conv, expand })));
  parameters.write(await weightsOf(bench), bench.case.name);
  parameters.clearGradients();
  const tape = bench.tape(true);
  parameters.attach(tape);
  const x = tape.constant(bench.need('x').data, [B * L, width], true);
  const sequence = new Sequence(tape, packedOffsets(B, L, cu));
  const y = tape.keep(mambaBlock(tape, x, null, blockWeights(parameters, '', type), sequence, { type, K, rate }));
  const values = await bench.device.read(y);
  tape.backward([[y, tape.constant(bench.need('dy').data, y.shape)]]);
  const outputs = { y: values, dx: await bench.gradient(tape, x), ...(await parameterGradients(bench, parameters)) };
  parameters.close();
  return outputs;
};

function mambaConfig(config: Bench['case']['config']): MambaMilConfig {
  return {
    type: config.type.toLowerCase() as BlockType,
    input: config.in_dim,
    width: config.d_model,
    attention: config.attn_dim,
    classes: classNames(config.n_classes),
    layers: config.layers,
    state: config.d_state,
    conv: config.d_conv ?? 4,
    expand: config.expand ?? 2,
    K: config.K ?? 0,
    flip: config.flip ?? 'none',
    rate: config.rate ?? 10,
    activation: config.act,
    dropout: 0,
  };
}

/** Forward, loss and gradients of one bag through a model. */
async function bagCase(
  bench: Bench,
  config: ModelConfig,
  weights: Weights,
  bag: HostTensor,
  label: number,
): Promise<Outputs> {
  const { model, parameters } = createModel(bench.device, config, weights, bench.case.name);
  parameters.clearGradients();
  const tape = bench.tape(true);
  const features = tape.constant(bag.data, bag.shape, 'dx' in (bench.case.outputs ?? {}));
  const output = model.forward(tape, { features, offsets: [0, bag.shape[0]!] });
  const loss = crossEntropy(tape, output.logits, [label]);
  const outputs = { ...(await readOutput(bench.device, output)), loss: await bench.device.read(loss) };
  tape.backward();
  const gradients = await parameterGradients(bench, parameters);
  const dx = await bench.gradient(tape, features);
  parameters.close();
  return { ...outputs, ...gradients, dx };
}

async function readOutput(device: Device, output: BagOutput): Promise<Outputs> {
  const tensors: Record<string, Tensor | null> = {
    logits: output.logits,
    attn_raw: output.scores,
    attn: output.attention,
    pooled: output.pooled,
    instance_logits: output.instanceLogits,
  };
  const read: Record<string, ArrayLike<number>> = {};
  for (const [name, t] of Object.entries(tensors)) if (t) read[name] = await device.read(t);
  return read;
}

const milModel: Runner = async (bench) => {
  const { config, bag, label } = bench.case;
  return bagCase(bench, mambaConfig(config), await weightsOf(bench), bagOf(bench, 'x', bag), label);
};

const baselineTypes: Readonly<Record<string, PoolingType>> = {
  mean: 'mean',
  max: 'max',
  abmil: 'abmil',
  gabmil: 'gated-abmil',
  clam_sb: 'clam-sb',
  dsmil: 'dsmil',
};

const baseline: Runner = async (bench) => {
  const { op, in_dim: input, hidden: width, attn_dim: attn, classes, label } = bench.case;
  const type = baselineTypes[op];
  if (!type) throw new Error(`no model for the baseline "${op}"`);
  // DSMIL's queries have a width of their own, as its shapes say.
  const attention = bench.input('param.b_classifier.q.0.weight')?.shape[0] ?? attn;
  const config: ModelConfig = { type, input, width, attention, classes: classNames(classes), dropout: 0 };
  const weights = new Map(await weightsOf(bench));
  // The bag part of CLAM is stored without the layers that only its clustering loss uses.
  for (const [name, shape] of registry[type].shapes(config)) {
    if (!name.startsWith('instance_classifiers.') || weights.has(name)) continue;
    weights.set(name, { shape, data: new Float32Array(shape.reduce((product, n) => product * n, 1)) });
  }
  return bagCase(bench, config, weights, bench.need('x'), label);
};

/** AdamW on all parameters, bag after bag, without dropout. */
const milTrain: Runner = async (bench) => {
  const { config, lr, weight_decay: weightDecay, steps } = bench.case;
  const { device } = bench;
  const { model, parameters } = createModel(device, mambaConfig(config), await weightsOf(bench), bench.case.name);
  const bags = (config.bags as number[]).map((_, i) => bagOf(bench, `x${i}`, i));
  const optimizer = new Adam(parameters, { lr, weightDecay });
  const forward = (tape: Tape, bag: HostTensor) =>
    model.forward(tape, { features: tape.constant(bag.data, bag.shape), offsets: [0, bag.shape[0]!] });

  const losses: number[] = [];
  for (let step = 0; step < steps; step++) {
    const index = step % bags.length;
    const tape = new Tape(device, { training: true, seed: step });
    parameters.clearGradients();
    const loss = crossEntropy(tape, forward(tape, bags[index]!).logits, [config.labels[index]]);
    tape.backward();
    optimizer.step();
    losses.push((await device.read(loss))[0]!);
    tape.close();
  }
  const finalLogits: number[] = [];
  for (const bag of bags) {
    const tape = new Tape(device);
    finalLogits.push(...(await device.read(forward(tape, bag).logits)));
    tape.close();
  }
  const outputs: Record<string, ArrayLike<number>> = { loss: losses, final_logits: finalLogits };
  for (const name of parameters.tensors.keys()) outputs[`final.${name}`] = await parameters.read(name);
  optimizer.close();
  parameters.close();
  return outputs;
};

const lbVim: Runner = async (bench) => {
  const { config: c } = bench.case;
  const config: LbVimConfig = {
    imagePx: c.img,
    patchPx: c.patch,
    width: c.embed_dim,
    depth: c.depth,
    state: c.d_state,
    conv: c.d_conv ?? 4,
    expand: c.expand ?? 2,
    K: c.K ?? 'auto',
    classes: c.n_classes,
    heads: c.head === 'mean' ? 0 : c.heads,
  };
  const parameters = Parameters.create(bench.device, lbVimShapes(config));
  parameters.write(await weightsOf(bench), bench.case.name);
  parameters.clearGradients();
  const tape = bench.tape(true);
  const output = createLbVim(config, parameters).forward(tape, bench.need('img').data, c.batch);
  const loss = crossEntropy(tape, output.logits, c.labels);
  const read = (t: Tensor) => bench.device.read(t);
  const outputs = {
    features: inOriginalOrder(await read(output.features), config),
    pooled: await read(output.pooled),
    logits: await read(output.logits),
    loss: await read(loss),
  };
  tape.backward();
  const gradients = await parameterGradients(bench, parameters);
  parameters.close();
  return { ...outputs, ...gradients };
};

/** With an odd number of layers the original leaves the tokens of each picture reversed. */
function inOriginalOrder(features: Float32Array, { depth, imagePx, patchPx, width }: LbVimConfig): Float32Array {
  if (depth % 2 === 0) return features;
  const tokens = (imagePx / patchPx) ** 2;
  const reversed = new Float32Array(features.length);
  for (let row = 0; row * width < features.length; row++) {
    const [picture, token] = [Math.floor(row / tokens), row % tokens];
    const from = (picture * tokens + tokens - 1 - token) * width;
    reversed.set(features.subarray(from, from + width), row * width);
  }
  return reversed;
}

export const modelKinds: Readonly<Record<string, Runner>> = {
  block,
  mil_model: milModel,
  mil_train: milTrain,
  baseline,
  lbvim: lbVim,
};
