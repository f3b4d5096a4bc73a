/**
 * TransMIL (Shao et al. 2021): two Nyström attention layers over the instances and a class token, with depthwise convolutions
 * over the bag laid out as a square in between. There is no golden data for it: it follows the description in mambamil.md.
 */
import { conv2d } from '../kernels/conv2d.ts';
import { add, dropout, multiply, scale, transpose } from '../kernels/elementwise.ts';
import { concatRows, gatherRows } from '../kernels/gather.ts';
import { addMatmul, linear, matmul } from '../kernels/matmul.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { poolRows, softmaxRows } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';
import type { BagModel, ModelKind } from './model.ts';
import type { ModelConfig } from './model-card.ts';

const HEADS = 8;
const PINV_ITERATIONS = 6;
const VALUE_KERNEL = 33;
const POSITION_KERNELS = [7, 5, 3];
const ATTENTION_DROPOUT = 0.1;

interface AttentionLayer {
  readonly norm: Dense;
  /** (3 width, width): rows for queries, keys and values, each head after head. */
  readonly toQkv: Tensor;
  readonly toOut: Dense;
  /** (HEADS, 1, 33, 1) */
  readonly valueKernel: Tensor;
}

export const transmil: ModelKind = {
  shapes({ input, width, classes }) {
    const layer = (name: string): [string, readonly number[]][] => [
      ...normShapes(`${name}.norm`, width),
      [`${name}.attn.to_qkv.weight`, [3 * width, width]],
      ...denseShapes(`${name}.attn.to_out.0`, width, width),
      [`${name}.attn.res_conv.weight`, [HEADS, 1, VALUE_KERNEL, 1]],
    ];
    const positions = POSITION_KERNELS.flatMap((size, i): [string, readonly number[]][] => [
      [`pos_layer.proj${i || ''}.weight`, [width, 1, size, size]],
      [`pos_layer.proj${i || ''}.bias`, [width]],
    ]);
    return new Map<string, readonly number[]>([
      ['cls_token', [1, 1, width]],
      ...positions,
      ...denseShapes('_fc1.0', width, input),
      ...layer('layer1'),
      ...layer('layer2'),
      ...normShapes('norm', width),
      ...denseShapes('classifier', classes.length, width),
    ]);
  },
  create: createTransmil,
};

function createTransmil(config: ModelConfig, parameters: Parameters): BagModel {
  const { width, input } = config;
  const landmarks = width / 2;
  const attentionLayer = (name: string): AttentionLayer => ({
    norm: denseOf(parameters, `${name}.norm`),
    toQkv: parameters.get(`${name}.attn.to_qkv.weight`),
    toOut: denseOf(parameters, `${name}.attn.to_out.0`),
    valueKernel: parameters.get(`${name}.attn.res_conv.weight`),
  });
  const first = denseOf(parameters, '_fc1.0');
  const [layer1, layer2] = [attentionLayer('layer1'), attentionLayer('layer2')];
  const positions = POSITION_KERNELS.map((_, i) => denseOf(parameters, `pos_layer.proj${i || ''}`));
  const classToken = parameters.get('cls_token');
  const norm = denseOf(parameters, 'norm');
  const classifier = denseOf(parameters, 'classifier');

  /** The class token (1, width) after both layers, of one bag's embedded instances (n, width). */
  const aggregate = (tape: Tape, instances: Tensor): Tensor => {
    const n = instances.shape[0]!;
    const side = Math.ceil(Math.sqrt(n));
    // The square is filled up by repeating the first tokens.
    const square = Int32Array.from({ length: side * side }, (_, i) => i % n);
    const laidOut = gatherRows(tape, instances, tape.constant(square, [square.length]));
    let h = concatRows(tape, [tape.view(classToken, 0, [1, width]), laidOut]);
    tape.done(laidOut);
    h = nystromLayer(tape, h, layer1, landmarks);
    h = encodePositions(tape, h, positions, side);
    h = nystromLayer(tape, h, layer2, landmarks);
    return tape.view(layerNorm(tape, h, norm.weight, norm.bias), 0, [1, width]);
  };

  return {
    config,
    parameters: parameters.tensors,
    // Tokens and what the layers make of them; queries, keys and values; of one head, a matrix to the landmarks and its softmax.
    bytesPerInstance: 4 * (input + 3 * width + 3 * width + 2 * landmarks + (3 * width) / HEADS),
    forward(tape, bags) {
      parameters.attach(tape);
      const embedded = dense(tape, bags.features, first, 'relu');
      const tokens = bags.offsets.slice(1).map((end, bag) => {
        const start = bags.offsets[bag]!;
        return aggregate(tape, tape.view(embedded, start * width, [end - start, width]));
      });
      tape.done(embedded);
      const pooled = tape.keep(concatRows(tape, tokens));
      const logits = tape.keep(dense(tape, pooled, classifier));
      return { logits, scores: null, attention: null, pooled, instanceLogits: null, instances: null };
    },
  };
}

/** h (n, width) + its Nyström attention */
function nystromLayer(tape: Tape, h: Tensor, layer: AttentionLayer, landmarks: number): Tensor {
  const [n, width] = [h.shape[0]!, h.shape[1]!];
  const normed = layerNorm(tape, h, layer.norm.weight, layer.norm.bias);
  // Zeros in front, so that the landmarks are means of equally many tokens.
  const groups = Math.ceil(n / landmarks);
  const padding = groups * landmarks - n;
  const padIndex = Int32Array.from({ length: n + padding }, (_, i) => (i < padding ? -1 : i - padding));
  const x = gatherRows(tape, normed, tape.constant(padIndex, [padIndex.length]));
  tape.done(normed);
  const heads = Array.from({ length: HEADS }, (_, head) => prepareHead(tape, x, layer, head, landmarks));
  tape.done(x);
  const start = reciprocalOfLargestColumnSum(
    tape,
    heads.map(({ links }) => links),
  );

  const headWidth = width / HEADS;
  const outByHead = transpose(tape, layer.toOut.weight);
  let sum: Tensor | null = null;
  for (const [index, head] of heads.entries()) {
    const out = attend(tape, head, start);
    const own = tape.view(out, padding * headWidth, [n, headWidth]);
    const rows = tape.view(outByHead, index * headWidth * width, [headWidth, width]);
    sum = sum ? addMatmul(tape, sum, own, rows) : matmul(tape, own, rows, { bias: layer.toOut.bias });
    tape.done(out);
  }
  const y = add(tape, h, dropout(tape, sum!, ATTENTION_DROPOUT));
  tape.done(h, sum, outByHead, start);
  return y;
}

interface Head {
  /** (n, width / HEADS): queries, scaled, keys and values. */
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
  /** (landmarks, width / HEADS): means of groups of queries and keys. */
  readonly qLand: Tensor;
  readonly kLand: Tensor;
  /** (landmarks, landmarks): softmax of qLand kLand'. */
  readonly links: Tensor;
  /** (1, 1, 33, 1): the convolution of its values. */
  readonly kernel: Tensor;
}

function prepareHead(tape: Tape, x: Tensor, layer: AttentionLayer, head: number, landmarks: number): Head {
  const [n, width] = [x.shape[0]!, x.shape[1]!];
  const headWidth = width / HEADS;
  const part = (kind: 0 | 1 | 2): Tensor => {
    const W = tape.view(layer.toQkv, (kind * width + head * headWidth) * width, [headWidth, width]);
    return linear(tape, x, W, null);
  };
  const [query, k, v] = [part(0), part(1), part(2)];
  const q = scale(tape, query, headWidth ** -0.5);
  tape.done(query);
  const groups = new Sequence(
    tape,
    Array.from({ length: landmarks + 1 }, (_, i) => (i * n) / landmarks),
  );
  const qLand = poolRows(tape, q, groups, 'mean');
  const kLand = poolRows(tape, k, groups, 'mean');
  const kernel = tape.view(layer.valueKernel, head * VALUE_KERNEL, [1, 1, VALUE_KERNEL, 1]);
  return { q, k, v, qLand, kLand, links: likeness(tape, qLand, kLand), kernel };
}

/** softmax of a b' */
function likeness(tape: Tape, a: Tensor, b: Tensor): Tensor {
  const products = matmul(tape, a, b, { transB: true });
  const soft = softmaxRows(tape, products);
  tape.done(products);
  return soft;
}

/** softmax(q kLand') links^-1 softmax(qLand k') v + convolution of v: (n, width / HEADS). In inference the head is given back. */
function attend(tape: Tape, { q, k, v, qLand, kLand, links, kernel }: Head, start: Tensor): Tensor {
  const [n, headWidth] = [v.shape[0]!, v.shape[1]!];
  const toValues = likeness(tape, qLand, k);
  const summary = matmul(tape, toValues, v);
  tape.done(toValues, k);
  const inverse = pseudoInverse(tape, links, start);
  const mixed = matmul(tape, inverse, summary);
  tape.done(inverse, summary, links);
  const toLandmarks = likeness(tape, q, kLand);
  tape.done(q);
  const attended = matmul(tape, toLandmarks, mixed);
  tape.done(toLandmarks, mixed, qLand, kLand);
  const local = conv2d(tape, tape.view(v, 0, [1, n, headWidth]), kernel, null);
  const out = add(tape, attended, tape.view(local, 0, [n, headWidth]));
  tape.done(v, local, attended);
  return out;
}

/**
 * The Moore-Penrose inverse of a softmax matrix x (m, m) by iteration from x' times `start` (1): one over the largest row sum,
 * which is 1, and the largest column sum.
 */
export function pseudoInverse(tape: Tape, x: Tensor, start: Tensor): Tensor {
  const m = x.shape[0]!;
  const identity = tape.constant(
    Float32Array.from({ length: m * m }, (_, i) => (i % (m + 1) === 0 ? 1 : 0)),
    [m, m],
  );
  const release = (result: Tensor, ...used: Tensor[]) => {
    tape.done(...used);
    return result;
  };
  const transposed = tape.view(transpose(tape, x), 0, [m * m, 1]);
  let z = tape.view(release(matmul(tape, transposed, tape.view(start, 0, [1, 1])), transposed), 0, [m, m]);
  for (let i = 0; i < PINV_ITERATIONS; i++) {
    const xz = matmul(tape, x, z);
    // z/4 (13 - xz (15 - xz (7 - xz)))
    let inner = add(tape, identity, xz, 7, -1);
    for (const factor of [15, 13]) {
      const product = release(matmul(tape, xz, inner), inner);
      inner = release(add(tape, identity, product, factor, -1), product);
    }
    const next = release(matmul(tape, z, inner), xz, inner, z);
    z = release(scale(tape, next, 0.25), next);
  }
  tape.done(identity);
  return z;
}

/** (1): one over the largest column sum of all matrices (m, m), without reading it back. */
export function reciprocalOfLargestColumnSum(tape: Tape, matrices: readonly Tensor[]): Tensor {
  const m = matrices[0]!.shape[0]!;
  const ones = tape.constant(new Float32Array(m).fill(1), [m, 1]);
  const sums = concatRows(
    tape,
    matrices.map((x) => matmul(tape, x, ones, { transA: true })),
  );
  const c = poolRows(tape, sums, new Sequence(tape, [0, sums.length]), 'max');
  // No kernel divides, but one over a root mean square of the single number c is r = 1 / c.
  const [r, unused] = [tape.create([1]), tape.create([1])];
  tape.run('rmsNorm', [c, null, ones, unused, null, r], [1, 1, 0]);
  tape.discard(unused);
  // A step of Newton's, 2 r - c r^2, leaves r as it is and brings its derivative, -1 / c^2.
  const rr = multiply(tape, r, r);
  return add(tape, r, multiply(tape, tape.view(c, 0, [1]), rr), 2, -1);
}

/** The class token stays; the others, as a square picture, get their depthwise convolutions added. */
function encodePositions(tape: Tape, h: Tensor, kernels: readonly Dense[], side: number): Tensor {
  const width = h.shape[1]!;
  const tokens = side * side;
  const picture = tape.view(transpose(tape, tape.view(h, width, [tokens, width])), 0, [width, side, side]);
  let sum = picture;
  for (const { weight, bias } of kernels) {
    const convolved = conv2d(tape, picture, weight, bias);
    const next = add(tape, sum, convolved);
    tape.done(convolved, sum === picture ? null : sum);
    sum = next;
  }
  tape.done(picture);
  const rows = transpose(tape, tape.view(sum, 0, [width, tokens]));
  tape.done(sum);
  const y = concatRows(tape, [tape.view(h, 0, [1, width]), rows]);
  tape.done(h, rows);
  return y;
}
