/** MambaMIL with layers of type Mamba, LBMamba, BiMamba or SRMamba (mambamil.md). */
import { UserError } from '../errors.ts';
import { add, dropout } from '../kernels/elementwise.ts';
import { gatherRows } from '../kernels/gather.ts';
import { layerNorm } from '../kernels/norm.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { attentionPool } from '../kernels/pool.ts';
import { Sequence } from '../kernels/sequence.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';
import { inverseOrder, orderOfCells, type ScanOrder } from '../row-order.ts';
import { attentionScores } from './attention.ts';
import { type Dense, dense, denseOf, denseShapes, normShapes } from './dense.ts';
import { type LocalBlockWeights, localBlockShapes, localBlockWeights, localMambaBlock } from './local-mamba-block.ts';
import { type BlockOptions, type BlockWeights, blockShapes, blockWeights, mambaBlock } from './mamba-block.ts';
import type { AttentionModel, BagOutput, ModelKind, PackedBags } from './model.ts';
import type { MambaMilConfig } from './model-card.ts';

export interface MambaLayer {
  readonly norm: Dense;
  /** Of a layer with one scan; null of one with several. */
  readonly block: BlockWeights | null;
  /** Of a layer with several scans; null of one with one. */
  readonly local: LocalBlockWeights | null;
  readonly reversed: boolean;
  /** Orders of its scans on the slide's grid; empty: the rows as they are. */
  readonly orders: readonly ScanOrder[];
}

/** `embed` gives what goes into the layers, `score` takes what comes out of them; pooled is its last norm. */
export interface MambaMil extends AttentionModel {
  readonly config: MambaMilConfig;
  readonly layers: readonly MambaLayer[];
}

export const mambaMil: ModelKind = {
  shapes(config) {
    const { input, width, attention, classes, layers, type, ...dimensions } = config as MambaMilConfig;
    const shapes = new Map<string, readonly number[]>(denseShapes('_fc1.0', width, input));
    const add = (entries: [string, readonly number[]][]) => {
      for (const [name, shape] of entries) shapes.set(name, shape);
    };
    for (let i = 0; i < layers; i++) {
      const branches = dimensions.orders?.[i]?.length ?? 1;
      const prefix = `layers.${i}.1.`;
      add(normShapes(`layers.${i}.0`, width));
      if (branches > 1) add(localBlockShapes(prefix, branches, dimensions.merge ?? 'scattn', { width, ...dimensions }));
      else add(blockShapes(prefix, type, { width, ...dimensions }));
    }
    add(normShapes('norm', width));
    add(denseShapes('attention.0', attention, width));
    add(denseShapes('attention.2', 1, attention));
    add(denseShapes('classifier', classes.length, width));
    return shapes;
  },
  create: (config, parameters) => createMambaMil(config as MambaMilConfig, parameters),
};

export function createMambaMil(config: MambaMilConfig, parameters: Parameters): MambaMil {
  const { type, K, rate, width, expand, input } = config;
  const layers = Array.from({ length: config.layers }, (_, i): MambaLayer => {
    const orders = config.orders?.[i] ?? [];
    const prefix = `layers.${i}.1.`;
    const several = orders.length > 1;
    return {
      norm: denseOf(parameters, `layers.${i}.0`),
      block: several ? null : blockWeights(parameters, prefix, type),
      local: several ? localBlockWeights(parameters, prefix, orders.length, config.merge ?? 'scattn') : null,
      reversed: config.flip === 'alternate' && i % 2 === 1,
      orders,
    };
  });
  const first = denseOf(parameters, '_fc1.0');
  const norm = denseOf(parameters, 'norm');
  const [V, w] = [denseOf(parameters, 'attention.0'), denseOf(parameters, 'attention.2')];
  const classifier = denseOf(parameters, 'classifier');

  const embed = (tape: Tape, features: Tensor): Tensor =>
    dropout(tape, dense(tape, features, first, config.activation), config.dropout);

  const score = (tape: Tape, h: Tensor) => {
    const instances = layerNorm(tape, h, norm.weight, norm.bias);
    tape.done(h);
    return { instances, scores: attentionScores(tape, instances, V, w) };
  };

  const classify = (tape: Tape, pooled: Tensor): Tensor => dense(tape, pooled, classifier);

  const forward = (tape: Tape, bags: PackedBags): BagOutput => {
    parameters.attach(tape);
    const sequence = new Sequence(tape, bags.offsets);
    let h = embed(tape, bags.features);
    const orders = layerOrders(layers, bags);
    for (const [i, layer] of layers.entries()) {
      const before = h;
      h = tape.checkpoint([before], () => runLayer(tape, before, layer, sequence, orders[i]!, { type, K, rate }));
    }
    const { instances, scores } = score(tape, h);
    const { attention, pooled } = attentionPool(tape, instances, scores, sequence);
    tape.done(instances);
    return {
      logits: tape.keep(classify(tape, pooled)),
      scores: tape.keep(scores),
      attention,
      pooled: tape.keep(pooled),
      instanceLogits: null,
      instances: tape.training ? instances : null,
    };
  };

  // At the peak: features, h, and of the block (E, L) six times: xz (twice), u, delta, y, and one to spare, which is y of the
  // first branch of two; SRMamba has xz in its second order as well. Then rows of x_proj, tables of segments and orders.
  // Of several branches, each leaves its rows (E) until all are summed, and the cells of its order are counted on top.
  const branches = Math.max(
    ...layers.map(({ orders }) => (orders.length > 1 ? orders.length + 2 : orders.length && 2)),
  );
  const inside = (type === 'srmamba' ? 8 : 6) + branches;
  const bytesPerInstance =
    4 * (input + 2 * width + inside * width * expand + Math.ceil(width / 16) + 2 * config.state + 2);
  return {
    config,
    parameters: parameters.tensors,
    bytesPerInstance,
    layers,
    embed,
    score,
    classify,
    forward,
  };
}

/** For each layer the permutations in which its scans read the rows, within their bags; empty: as they are. */
export function layerOrders(layers: readonly MambaLayer[], { offsets, cells, shuffles }: PackedBags): Int32Array[][] {
  const found = new Map<ScanOrder, Int32Array>();
  const orderOf = (order: ScanOrder): Int32Array => {
    if (!cells) throw noPlaces(order);
    let rows = found.get(order);
    if (!rows) found.set(order, (rows = orderWithinBags(order, cells, offsets)));
    return rows;
  };
  return layers.map(({ orders }, i) => {
    const shuffle = shuffles?.[i];
    return shuffle ? [...(orders.length > 1 ? orders : [null])].map(() => shuffle) : orders.map(orderOf);
  });
}

function noPlaces(order: ScanOrder): UserError {
  const problem = `The model scans patches in the order ${order} of the slide's grid, and a bag does not say where its patches lie.`;
  return new UserError('no-coords', problem, 'Extract the slides with coordinates, or leave the orders out.');
}

function orderWithinBags(order: ScanOrder, cells: Int32Array, offsets: readonly number[]): Int32Array {
  const rows = new Int32Array(cells.length / 2);
  for (let bag = 0; bag + 1 < offsets.length; bag++) {
    const [start, end] = [offsets[bag]!, offsets[bag + 1]!];
    orderOfCells(order, cells.subarray(2 * start, 2 * end)).forEach((row, i) => {
      rows[start + i] = start + row;
    });
  }
  return rows;
}

/** h + the layer's block of its norm. @param orders as `layerOrders` gives them. */
export function runLayer(
  tape: Tape,
  h: Tensor,
  { norm, block, local, reversed }: MambaLayer,
  sequence: Sequence,
  orders: readonly Int32Array[],
  options: Omit<BlockOptions, 'reversed'>,
): Tensor {
  const x = layerNorm(tape, h, norm.weight, norm.bias);
  const after = local
    ? localMambaBlock(tape, x, h, local, sequence, orders, { K: options.type === 'lbmamba' ? options.K : 0, reversed })
    : orders.length > 0
      ? shuffledBlock(tape, x, h, block!, sequence, { ...options, reversed }, orders[0]!)
      : mambaBlock(tape, x, h, block!, sequence, { ...options, reversed });
  tape.done(x);
  return after;
}

/** residual + the block of x with its rows in another order, which is undone afterwards. */
function shuffledBlock(
  tape: Tape,
  x: Tensor,
  residual: Tensor,
  block: BlockWeights,
  sequence: Sequence,
  options: BlockOptions,
  order: Int32Array,
): Tensor {
  const index = (rows: Int32Array) => tape.constant(rows, [rows.length]);
  const read = gatherRows(tape, x, index(order));
  const after = mambaBlock(tape, read, null, block, sequence, options);
  tape.done(read);
  const back = gatherRows(tape, after, index(inverseOrder(order)));
  tape.done(after);
  const sum = add(tape, residual, back);
  tape.done(residual, back);
  return sum;
}
