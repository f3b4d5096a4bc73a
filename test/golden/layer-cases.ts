/** The small ops: convolution, norms, pooling, activations, losses, optimizer steps. */
import { conv1d } from '../../src/kernels/conv1d.ts';
import { activate } from '../../src/kernels/elementwise.ts';
import type { Activation } from '../../src/kernels/kernels.ts';
import { crossEntropy, survivalLoss } from '../../src/kernels/loss.ts';
import { layerNorm, rmsNorm } from '../../src/kernels/norm.ts';
import { Adam, Sgd } from '../../src/kernels/optimizer.ts';
import { Parameters } from '../../src/kernels/parameters.ts';
import { attentionPool } from '../../src/kernels/pool.ts';
import { Sequence } from '../../src/kernels/sequence.ts';
import type { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import { attentionScores, gatedAttentionScores } from '../../src/mil/attention.ts';
import type { Bench, Outputs, Runner } from './run-case.ts';
import { pack, packedOffsets, unpack } from './scan-cases.ts';

/** All inputs that are not upstream gradients, on the tape. */
function leaves(bench: Bench, tape: Tape, upstream: readonly string[]): Record<string, Tensor> {
  const names = Object.keys(bench.case.inputs ?? {}).filter((name) => !upstream.includes(name));
  return Object.fromEntries(
    names.map((name) => {
      const { data, shape } = bench.need(name);
      return [name, tape.constant(data, shape, true)];
    }),
  );
}

async function gradients(bench: Bench, tape: Tape, inputs: Readonly<Record<string, Tensor>>): Promise<Outputs> {
  const entries = Object.entries(inputs).map(async ([name, t]) => [`d${name}`, await bench.gradient(tape, t)] as const);
  return Object.fromEntries(await Promise.all(entries));
}

const causalConv: Runner = async (bench) => {
  const { B, L, D } = bench.case.dims;
  const { silu, cu_seqlens: cu } = bench.case;
  const tape = bench.tape(true);
  const { weight, bias = null } = leaves(bench, tape, ['x', 'dy']);
  const x = tape.constant(pack(bench.need('x').data, B, L), [D, B * L], true);
  const y = tape.keep(conv1d(tape, x, weight!, bias, new Sequence(tape, packedOffsets(B, L, cu)), { silu }));
  const outputs = { y: unpack(await bench.device.read(y), B, L) };
  tape.backward([[y, tape.constant(pack(bench.need('dy').data, B, L), y.shape)]]);
  const dx = unpack(await bench.gradient(tape, x), B, L);
  return { ...outputs, dx, ...(await gradients(bench, tape, bias ? { weight: weight!, bias } : { weight: weight! })) };
};

const norm: Runner = async (bench) => {
  const tape = bench.tape(true);
  const inputs = leaves(bench, tape, ['dy', 'dres']);
  const { x, weight, bias, residual = null } = inputs;
  const { eps } = bench.case;
  const { y, sum } = bias
    ? { y: layerNorm(tape, x!, weight!, bias, eps), sum: null }
    : rmsNorm(tape, x!, residual, weight!, eps);
  const outputs: Record<string, ArrayLike<number>> = { y: await bench.device.read(tape.keep(y)) };
  const upstream = (name: string, t: Tensor) => [t, tape.constant(bench.need(name).data, t.shape)] as const;
  const seeds = [upstream('dy', y)];
  if (residual && sum) {
    outputs.residual_out = await bench.device.read(tape.keep(sum));
    seeds.push(upstream('dres', sum));
  }
  tape.backward(seeds);
  return { ...outputs, ...(await gradients(bench, tape, inputs)) };
};

const attention: Runner = async (bench) => {
  const tape = bench.tape(true);
  const inputs = leaves(bench, tape, ['dM']);
  const layer = (name: string) => ({ weight: inputs[`${name}.weight`]!, bias: inputs[`${name}.bias`]! });
  const h = inputs.h!;
  const scores =
    bench.case.kind === 'gated_attention_pool'
      ? gatedAttentionScores(tape, h, layer('attention_V.0'), layer('attention_U.0'), layer('attention_weights'))
      : attentionScores(tape, h, layer('attention.0'), layer('attention.2'));
  const pool = attentionPool(tape, h, tape.keep(scores), new Sequence(tape, [0, h.shape[0]!]));
  const outputs = {
    attn_raw: await bench.device.read(scores),
    attn: await bench.device.read(pool.attention),
    M: await bench.device.read(tape.keep(pool.pooled)),
  };
  tape.backward([[pool.pooled, tape.constant(bench.need('dM').data, pool.pooled.shape)]]);
  return { ...outputs, ...(await gradients(bench, tape, inputs)) };
};

const activation: Runner = async (bench) => {
  const tape = bench.tape(true);
  const inputs = leaves(bench, tape, []);
  const y = tape.keep(activate(tape, inputs.x!, bench.case.op as Activation));
  const outputs = { y: await bench.device.read(y) };
  tape.backward([[y, tape.constant(new Float32Array(y.length).fill(1), y.shape)]]);
  return { ...outputs, ...(await gradients(bench, tape, inputs)) };
};

const crossEntropyCase: Runner = async (bench) => {
  const tape = bench.tape(true);
  const inputs = leaves(bench, tape, []);
  const loss = crossEntropy(tape, inputs.logits!, [bench.case.label]);
  return { loss: await bench.device.read(loss), ...(await gradients(bench, tape, inputs)) };
};

const survivalCase: Runner = async (bench) => {
  const tape = bench.tape(true);
  const inputs = leaves(bench, tape, []);
  const { bin, censored, alpha } = bench.case;
  const { loss, hazards, survival, risk } = survivalLoss(tape, inputs.logits!, [bin], [Number(censored)], alpha);
  const read = (t: Tensor) => bench.device.read(t);
  return {
    loss: await read(loss),
    hazards: await read(hazards),
    S: await read(survival),
    risk: await read(risk),
    ...(await gradients(bench, tape, inputs)),
  };
};

/** The weights after each step with given gradients. */
const optimizer: Runner = async (bench) => {
  const { op, lr, weight_decay: weightDecay, betas, eps } = bench.case;
  const [w0, g] = [bench.need('w0'), bench.need('g')];
  const n = w0.data.length;
  const parameters = Parameters.create(bench.device, new Map([['w', [n]]]));
  parameters.write(new Map([['w', w0]]), bench.case.name);
  // The manifest does not say it, its maker does: SGD has a momentum of 0.9.
  const rule =
    op === 'sgd'
      ? new Sgd(parameters, { lr, weightDecay, momentum: 0.9 })
      : new Adam(parameters, { lr, betas, eps, weightDecay, decay: op === 'adamw' ? 'decoupled' : 'l2' });
  const w = new Float32Array(g.data.length);
  for (let step = 0; step * n < w.length; step++) {
    bench.device.write(parameters.gradients.storage, g.data.subarray(step * n, (step + 1) * n));
    rule.step();
    w.set(await parameters.read('w'), step * n);
  }
  rule.close();
  parameters.close();
  return { w };
};

export const layerKinds: Readonly<Record<string, Runner>> = {
  causal_conv1d: causalConv,
  layer_norm: norm,
  rms_norm: norm,
  add_rms_norm: norm,
  attention_pool: attention,
  gated_attention_pool: attention,
  activation,
  cross_entropy: crossEntropyCase,
  nll_surv: survivalCase,
  optimizer,
};
