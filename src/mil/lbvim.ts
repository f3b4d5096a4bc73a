/**
 * LBVim, a plain vision backbone of LB blocks (lbvim.md): pictures to tokens, one feature vector and class logits a picture.
 *
 * The original reverses all tokens after each layer; here odd layers read them from the end instead, which is the same and
 * leaves the token features in the order of the picture at any depth.
 */
import { add, scale } from '../kernels/elementwise.ts';
import { concatRows, gatherRows } from '../kernels/gather.ts';
import { linear, matmul } from '../kernels/matmul.ts';
import { layerNorm, rmsNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionPool, poolRows } from '../kernels/pool.ts';
import { type SegmentLength, Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';
import { type BlockDimensions, type BlockWeights, blockShapes, blockWeights, mambaBlock } from './mamba-block.ts';

export interface LbVimConfig extends BlockDimensions {
  /** Side of the square pictures and of their patches, in pixels. */
  readonly imagePx: number;
  readonly patchPx: number;
  readonly depth: number;
  readonly K: SegmentLength;
  readonly classes: number;
  /** Heads of the attention that pools the tokens; 0: their mean. */
  readonly heads: number;
}

export interface LbVimOutput {
  /** (pictures * tokens, width), in the order of the picture: row by row. */
  readonly features: Tensor;
  /** (pictures, width) */
  readonly pooled: Tensor;
  /** (pictures, classes) */
  readonly logits: Tensor;
}

export interface LbVim {
  readonly config: LbVimConfig;
  /** @param pictures (count, 3, imagePx, imagePx), normalised */
  forward(tape: Tape, pictures: Float32Array, count: number): LbVimOutput;
}

const CHANNELS = 3;

export function lbVimShapes(config: LbVimConfig): Map<string, readonly number[]> {
  const { width, patchPx, depth, classes, heads } = config;
  const layers = Array.from({ length: depth }, (_, i): [string, readonly number[]][] => [
    [`layers.${i}.norm.weight`, [width]],
    ...blockShapes(`layers.${i}.mixer.`, 'lbmamba', config),
  ]).flat();
  const head: [string, readonly number[]][] = heads
    ? [
        ['head.0.latent', [1, 1, width]],
        ...denseShapes('head.0.kv', 2 * width, width),
        ...normShapes('head.0.post_norm', width),
        ...denseShapes('head.1', classes, width),
      ]
    : denseShapes('head', classes, width);
  return new Map<string, readonly number[]>([
    ['patch_embed.proj.weight', [width, CHANNELS, patchPx, patchPx]],
    ['patch_embed.proj.bias', [width]],
    ['pos_embed', [1, tokensOf(config), width]],
    ...layers,
    ['norm_f.weight', [width]],
    ...head,
  ]);
}

function tokensOf({ imagePx, patchPx }: LbVimConfig): number {
  return (imagePx / patchPx) ** 2;
}

export function createLbVim(config: LbVimConfig, parameters: Parameters): LbVim {
  const { width, depth, K, patchPx } = config;
  const tokens = tokensOf(config);
  const patchEmbed = denseOf(parameters, 'patch_embed.proj');
  const positions = parameters.get('pos_embed');
  const layers = Array.from({ length: depth }, (_, i) => ({
    norm: parameters.get(`layers.${i}.norm.weight`),
    block: blockWeights(parameters, `layers.${i}.mixer.`, 'lbmamba') as BlockWeights,
    reversed: i % 2 === 1,
  }));
  const finalNorm = parameters.get('norm_f.weight');
  const head = config.heads ? attentionHead(config, parameters) : meanHead(parameters);

  return {
    config,
    forward(tape, pictures, count) {
      parameters.attach(tape);
      const sequence = new Sequence(
        tape,
        Array.from({ length: count + 1 }, (_, i) => i * tokens),
      );
      const patchLength = CHANNELS * patchPx ** 2;
      const patches = tape.constant(cutPatches(pictures, count, config), [count * tokens, patchLength]);
      const embedded = linear(tape, patches, tape.view(patchEmbed.weight, 0, [width, patchLength]), patchEmbed.bias);
      const placeOf = Int32Array.from({ length: count * tokens }, (_, i) => i % tokens);
      const places = tape.view(positions, 0, [tokens, width]);
      let h = add(tape, embedded, gatherRows(tape, places, tape.constant(placeOf, [placeOf.length])));
      tape.done(embedded);
      let residual: Tensor | null = null;
      for (const { norm, block, reversed } of layers) {
        const { y, sum } = rmsNorm(tape, h, residual, norm);
        if (residual) tape.done(h, residual);
        residual = sum;
        h = mambaBlock(tape, y, null, block, sequence, { type: 'lbmamba', K, rate: 1, reversed });
        tape.done(y);
      }
      const features = tape.keep(rmsNorm(tape, h, residual, finalNorm).y);
      const { pooled, logits } = head(tape, features, sequence);
      return { features, pooled: tape.keep(pooled), logits: tape.keep(logits) };
    },
  };
}

/** The pictures' patches as rows, in the order of the patch embedding's weight: channel, row, column. */
function cutPatches(pictures: Float32Array, count: number, { imagePx, patchPx }: LbVimConfig): Float32Array {
  const across = imagePx / patchPx;
  const rows = new Float32Array(pictures.length);
  let at = 0;
  for (let patch = 0; patch < count * across * across; patch++) {
    const picture = Math.floor(patch / across ** 2);
    const top = (Math.floor(patch / across) % across) * patchPx;
    const left = (patch % across) * patchPx;
    for (let channel = 0; channel < CHANNELS; channel++) {
      for (let y = 0; y < patchPx; y++) {
        const from = ((picture * CHANNELS + channel) * imagePx + top + y) * imagePx + left;
        rows.set(pictures.subarray(from, from + patchPx), at);
        at += patchPx;
      }
    }
  }
  return rows;
}

type Head = (tape: Tape, features: Tensor, sequence: Sequence) => { pooled: Tensor; logits: Tensor };

function meanHead(parameters: Parameters): Head {
  const classifier = denseOf(parameters, 'head');
  return (tape, features, sequence) => {
    const pooled = poolRows(tape, features, sequence, 'mean');
    return { pooled, logits: dense(tape, pooled, classifier) };
  };
}

/** One learned query for all pictures, without projections of the query or the output. */
function attentionHead({ width, heads }: LbVimConfig, parameters: Parameters): Head {
  const headWidth = width / heads;
  const latent = parameters.get('head.0.latent');
  const keysAndValues = denseOf(parameters, 'head.0.kv');
  const norm = denseOf(parameters, 'head.0.post_norm');
  const classifier = denseOf(parameters, 'head.1');

  const rowsOf = (tape: Tape, first: number): Dense => ({
    weight: tape.view(keysAndValues.weight, first * width, [headWidth, width]),
    bias: tape.view(keysAndValues.bias, first, [headWidth]),
  });

  return (tape, features, sequence) => {
    const outputs = Array.from({ length: heads }, (_, head) => {
      const keys = dense(tape, features, rowsOf(tape, head * headWidth));
      const values = dense(tape, features, rowsOf(tape, width + head * headWidth));
      const query = scale(tape, tape.view(latent, head * headWidth, [headWidth, 1]), headWidth ** -0.5);
      const scores = tape.view(matmul(tape, keys, query), 0, [features.shape[0]!]);
      return attentionPool(tape, values, scores, sequence).pooled;
    });
    // Head after head becomes picture after picture.
    const order = Int32Array.from(
      { length: heads * sequence.bags },
      (_, i) => (i % heads) * sequence.bags + Math.floor(i / heads),
    );
    const byPicture = gatherRows(tape, concatRows(tape, outputs), tape.constant(order, [order.length]));
    const joined = tape.view(byPicture, 0, [sequence.bags, width]);
    const pooled = layerNorm(tape, joined, norm.weight, norm.bias);
    return { pooled, logits: dense(tape, pooled, classifier) };
  };
}
