/**
 * SCAttn (LocalMamba, localmamba.md): what each of several scans gives is weighed before they are summed, by channel and, if
 * wanted, by token. One set of weights for all scans of a layer.
 *
 * With n = LN(o) and g = GELU(W1 mean_t n): channel gate c = sigmoid(W2 g), token gate s_t = sigmoid(w3 [GELU(W4 n_t), g]).
 */
import { activate, add, multiply } from '../kernels/elementwise.ts';
import { gatherRows } from '../kernels/gather.ts';
import { matmul } from '../kernels/matmul.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows } from '../kernels/pool.ts';
import type { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';

export interface ScAttn {
  readonly norm: Dense;
  /** W1 (r, E) */
  readonly reduce: Dense;
  /** W2 (E, r) */
  readonly select: Dense;
  /** W4 (r, E) and w3 (1, 2r); null without a token gate, as in LocalMamba's released code. */
  readonly token: { readonly reduce: Dense; readonly select: Dense } | null;
}

/** E / r */
const REDUCTION = 8;

/** Names as LocalMamba's code has them, and shapes. @param E channels of a scan */
export function scAttnShapes(E: number, withToken: boolean): [string, readonly number[]][] {
  const reduced = Math.max(1, Math.floor(E / REDUCTION));
  return [
    ...normShapes('attn.norm', E),
    ...denseShapes('attn.global_reduce', reduced, E),
    ...denseShapes('attn.channel_select', E, reduced),
    ...(withToken
      ? [...denseShapes('attn.local_reduce', reduced, E), ...denseShapes('attn.spatial_select', 1, 2 * reduced)]
      : []),
  ];
}

export function scAttnOf(parameters: Parameters, prefix: string, withToken: boolean): ScAttn {
  const of = (name: string) => denseOf(parameters, `${prefix}attn.${name}`);
  return {
    norm: of('norm'),
    reduce: of('global_reduce'),
    select: of('channel_select'),
    token: withToken ? { reduce: of('local_reduce'), select: of('spatial_select') } : null,
  };
}

/** (L, E): sum over the scans of o * c * s. @param scans each (L, E), in the order of the rows; they are used up */
export function gatedSum(tape: Tape, scans: readonly Tensor[], gate: ScAttn, sequence: Sequence): Tensor {
  const bags = bagsOfRows(tape, sequence);
  let sum: Tensor | null = null;
  for (const o of scans) {
    const gated = gatedScan(tape, o, gate, sequence, bags);
    const next: Tensor = sum ? add(tape, sum, gated) : gated;
    if (sum) tape.done(sum, gated);
    sum = next;
  }
  return sum!;
}

/** (L), i32: the bag of each row. */
function bagsOfRows(tape: Tape, { tokens, bags, offsets }: Sequence): Tensor {
  const rows = new Int32Array(tokens);
  for (let bag = 0; bag < bags; bag++) rows.fill(bag, offsets[bag], offsets[bag + 1]);
  return tape.constant(rows, [tokens]);
}

function gatedScan(tape: Tape, o: Tensor, gate: ScAttn, sequence: Sequence, bags: Tensor): Tensor {
  const normed = layerNorm(tape, o, gate.norm.weight, gate.norm.bias);
  const mean = poolRows(tape, normed, sequence, 'mean');
  const reduced = dense(tape, mean, gate.reduce, 'gelu');
  const channels = dense(tape, reduced, gate.select, 'sigmoid');
  const byChannel = gatherRows(tape, channels, bags);
  const gated = multiply(tape, o, byChannel);
  tape.done(o, mean, channels, byChannel);
  const both = gate.token ? gatedByToken(tape, gated, normed, reduced, gate.token, bags) : gated;
  tape.done(normed, reduced);
  return both;
}

/** gated (L, E), which is used up, times the token gate of normed (L, E) and of what their bags have in common, reduced (bags, r). */
function gatedByToken(
  tape: Tape,
  gated: Tensor,
  normed: Tensor,
  reduced: Tensor,
  { reduce, select }: NonNullable<ScAttn['token']>,
  bags: Tensor,
): Tensor {
  const E = gated.shape[1]!;
  const r = reduced.shape[1]!;
  // w3 [local, global] = w3's left half times the local part, plus its right half times the global one, which a bag has once.
  const half = (index: number) => tape.view(select.weight, index * r, [1, r]);
  const local = dense(tape, normed, reduce, 'gelu');
  const ofToken = matmul(tape, local, half(0), { transB: true });
  const ofBag = dense(tape, reduced, { weight: half(1), bias: select.bias });
  const spread = gatherRows(tape, ofBag, bags);
  const score = add(tape, ofToken, spread);
  const token = activate(tape, score, 'sigmoid');
  const everywhere = matmul(tape, token, tape.constant(new Float32Array(E).fill(1), [1, E]));
  const both = multiply(tape, gated, everywhere);
  tape.done(gated, local, ofToken, ofBag, spread, score, token, everywhere);
  return both;
}
