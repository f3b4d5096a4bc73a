/**
 * Inference over a bag of any length, in pieces: memory does not grow with the bag.
 *
 * MambaMIL: the scan and the convolution hand their state from piece to piece, and pieces are multiples of K, so the result is that of
 * the whole bag at once (lbmamba-scan.md §8.6). Layers that read in the same direction run on one piece together; where the
 * direction turns, the activations of the whole bag wait in a `RowStore`. A second branch (BiMamba, SRMamba) walks over a store
 * of its own, in its own order, and leaves there what it adds to each row. Attention pools by an online softmax, which is all there is to do for models without layers (ABMIL, gated
 * ABMIL, CLAM); mean and maximum of the instances' logits are gathered on the host.
 */
import type { Device } from '../kernels/device.ts';
import type { BranchCarry } from '../kernels/mamba-branch.ts';
import { layerNorm } from '../kernels/norm.ts';
import { poolRows } from '../kernels/pool.ts';
import { autoSegmentLength, Sequence } from '../kernels/sequence.ts';
import { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { type BlockWeights, blockPiece } from './mamba-block.ts';
import type { MambaLayer, MambaMil } from './mambamil.ts';
import { type AttentionModel, type BagModel, type PoolingModel, requireBags } from './model.ts';
import { loadRows, type RowSource } from './row-source.ts';
import { openRowStore, type RowRun, type RowStore } from './row-store.ts';

export interface StreamOptions {
  /** Rows a piece, rounded to a multiple of K. */
  readonly chunk?: number;
  /** Largest store of activations on the device, in bytes; larger ones are files. */
  readonly mostDeviceBytes?: number;
  readonly signal?: AbortSignal;
}

export interface StreamResult {
  readonly logits: Float32Array;
  /** Raw attention score of each row; null for models without attention. */
  readonly scores: Float32Array | null;
  /** Null likewise. */
  readonly pooled: Float32Array | null;
}

type StreamedModel = AttentionModel | PoolingModel;

/** Whether a model can be given a bag in pieces. Not where every patch meets every other, or the slide's grid is scanned in other orders. */
export function readsPieces(model: BagModel): model is StreamedModel {
  if ('embed' in model) return layersOf(model as AttentionModel).every(({ orders }) => orders.length === 0);
  return 'pooling' in model;
}

function layersOf(model: AttentionModel): readonly MambaLayer[] {
  return 'layers' in model ? (model as MambaMil).layers : [];
}

/** Long enough for the matrix products, short enough for the caches. */
const CHUNK = 2048;
const LOWEST = -3.4e38;

/** For models that read pieces. @throws AbortError between two of them when the signal asks for it. */
export async function streamBag(
  model: StreamedModel,
  device: Device,
  source: RowSource,
  options: StreamOptions = {},
): Promise<StreamResult> {
  requireBags([0, source.count]);
  if ('pooling' in model) return streamPooling(model, device, source, options);
  const stream = new BagStream(model, device, source, options);
  try {
    return await stream.run();
  } finally {
    await stream.close();
  }
}

async function streamPooling(
  model: PoolingModel,
  device: Device,
  source: RowSource,
  { chunk = CHUNK, signal }: StreamOptions,
): Promise<StreamResult> {
  const mean = model.pooling === 'mean';
  const logits = new Float64Array(model.config.classes.length).fill(mean ? 0 : Number.NEGATIVE_INFINITY);
  for (let first = 0; first < source.count; first += chunk) {
    signal?.throwIfAborted();
    const count = Math.min(chunk, source.count - first);
    const tape = new Tape(device);
    try {
      const instances = model.classifyInstances(tape, await loadRows(tape, source, { first, count }));
      const pooled = poolRows(tape, instances, new Sequence(tape, [0, count]), model.pooling);
      for (const [k, value] of (await device.read(pooled)).entries()) {
        logits[k] = mean ? logits[k]! + (value * count) / source.count : Math.max(logits[k]!, value);
      }
    } finally {
      tape.close();
    }
  }
  return { logits: Float32Array.from(logits), scores: null, pooled: null };
}

class BagStream {
  readonly #tape: Tape;
  readonly #chunk: number;
  readonly #K: number;
  readonly #sequences = new Map<number, Sequence>();
  readonly #stores: RowStore[] = [];
  /** (rows), on the device until the end: nothing is read back between two pieces. */
  readonly #scores: Tensor;
  readonly #pool: Tensor;

  readonly #layers: readonly MambaLayer[];

  constructor(
    readonly model: AttentionModel,
    readonly device: Device,
    readonly source: RowSource,
    readonly options: StreamOptions,
  ) {
    const { config } = model;
    this.#layers = layersOf(model);
    this.#tape = new Tape(device);
    this.#K = config.type !== 'lbmamba' ? 0 : config.K === 'auto' ? autoSegmentLength(source.count) : config.K;
    const multiple = Math.max(1, this.#K);
    this.#chunk = Math.max(1, Math.round((options.chunk ?? CHUNK) / multiple)) * multiple;
    this.#scores = this.#tape.create([source.count]);
    const start = new Float32Array(2 + config.width);
    start[0] = LOWEST;
    this.#pool = this.#tape.constant(start, [start.length]);
  }

  async run(): Promise<StreamResult> {
    const { config } = this.model;
    if (config.type === 'srmamba') await this.#runBothBranches(stridedPlaces(this.source.count, config.rate));
    else if (config.type === 'bimamba') await this.#runBothBranches(samePlaces(this.source.count));
    else await this.#runLayers();
    const [, total, ...sums] = await this.device.read(this.#pool);
    const pooled = Float32Array.from(sums, (sum) => sum / total!);
    const logits = this.model.classify(this.#tape, this.#tape.constant(pooled, [1, pooled.length]));
    return { logits: await this.device.read(logits), scores: await this.device.read(this.#scores), pooled };
  }

  async close(): Promise<void> {
    this.#tape.close();
    for (const store of this.#stores) await store.close();
  }

  /** One branch a layer, or no layers: walks the bag once for each run of layers of one direction. */
  async #runLayers(): Promise<void> {
    const passes = this.#layers.length ? sameDirection(this.#layers) : [[]];
    const store = passes.length > 1 ? await this.#openStore(this.source.count) : null;
    for (const [index, layers] of passes.entries()) {
      const carries = layers.map((layer) => this.#newCarry(layer.block!));
      const reversed = layers[0]?.reversed ?? false;
      await this.#walk(this.source.count, reversed, async (run) => {
        let h = index === 0 ? await this.#embed(run) : await store!.read(this.#tape, [run]);
        layers.forEach((layer, i) => {
          h = this.#addBranch(h, layer, carries[i]!, reversed);
        });
        if (index === passes.length - 1) this.#poolRows(run, h);
        else await store!.write([run], h);
        this.#tape.done(h);
      });
    }
  }

  /** Two branches a layer: the second first, in its own order, then the first, which takes up what the second left. */
  async #runBothBranches(second: SecondOrder): Promise<void> {
    const { count } = this.source;
    const store = await this.#openStore(count);
    const waiting = await this.#openStore(second.rows);
    const put = async (run: RowRun, h: Tensor) => {
      await store.write([run], h);
      const { runs, order } = second.of(run);
      const ordered = order ? this.#gather(h, order) : h;
      await waiting.write(runs, ordered);
      if (order) this.#tape.done(ordered);
    };
    await this.#walk(count, false, async (run) => {
      const h = await this.#embed(run);
      await put(run, h);
      this.#tape.done(h);
    });
    for (const [index, layer] of this.#layers.entries()) {
      await this.#walkSecondBranch(layer, waiting, second);
      const carry = this.#newCarry(layer.block!);
      await this.#walk(count, false, async (run) => {
        let h = await store.read(this.#tape, [run]);
        h = this.#addBranch(h, layer, carry, false);
        const { runs, order } = second.of(run);
        const left = await waiting.read(this.#tape, runs);
        if (order) {
          const back = this.#tape.constant(inverse(order), [order.length]);
          this.#tape.run('gatherRows', [left, back, h], [order.length, h.shape[1]!, 1]);
          this.#tape.done(back);
        } else this.#tape.run('add', [h, left, h], [h.length, 1, 1]);
        this.#tape.done(left);
        if (index === this.#layers.length - 1) this.#poolRows(run, h);
        else await put(run, h);
        this.#tape.done(h);
      });
    }
  }

  /** Replaces the rows of the second order by what the second branch adds to them. */
  async #walkSecondBranch(layer: MambaLayer, waiting: RowStore, second: SecondOrder): Promise<void> {
    const { inProj, outProj, second: branch } = layer.block!;
    const carry = this.#newCarry({ branch: branch! });
    await this.#walk(second.rows, second.reversed, async (run) => {
      const rows = await waiting.read(this.#tape, [run]);
      const x = layerNorm(this.#tape, rows, layer.norm.weight, layer.norm.bias);
      this.#tape.done(rows);
      const padding = second.padding(run);
      const options = { K: 0, reversed: second.reversed, carry, padding };
      const weights = { inProj, outProj, branch: branch! };
      const out = blockPiece(this.#tape, x, null, weights, this.#sequence(run.count), options);
      this.#tape.done(x);
      await waiting.write([run], out);
      this.#tape.done(out);
    });
  }

  /** Pieces of `rows` rows in the order of a scan; a reversed one counts them from the end. */
  async #walk(rows: number, reversed: boolean, visit: (run: RowRun) => Promise<void>): Promise<void> {
    for (let done = 0; done < rows; done += this.#chunk) {
      this.options.signal?.throwIfAborted();
      const count = Math.min(this.#chunk, rows - done);
      await visit({ first: reversed ? rows - done - count : done, count });
    }
  }

  async #embed(run: RowRun): Promise<Tensor> {
    const rows = await loadRows(this.#tape, this.source, run);
    const h = this.model.embed(this.#tape, rows);
    this.#tape.done(rows);
    return h;
  }

  #addBranch(h: Tensor, layer: MambaLayer, carry: BranchCarry, reversed: boolean): Tensor {
    const x = layerNorm(this.#tape, h, layer.norm.weight, layer.norm.bias);
    const options = { K: this.#K, reversed, carry };
    const sum = blockPiece(this.#tape, x, h, layer.block!, this.#sequence(h.shape[0]!), options);
    this.#tape.done(x);
    return sum;
  }

  #poolRows({ first, count }: RowRun, h: Tensor): void {
    const { instances, scores } = this.model.score(this.#tape, h);
    this.#tape.run('attentionPoolChunk', [instances, scores, this.#pool], [count, instances.shape[1]!]);
    const place = tensor(this.#scores.storage, first, [count]);
    this.#tape.run('add', [scores, null, place], [count, 1, 0]);
    this.#tape.done(instances, scores);
  }

  #gather(rows: Tensor, order: Int32Array): Tensor {
    const index = this.#tape.constant(order, [order.length]);
    const gathered = this.#tape.create([order.length, rows.shape[1]!]);
    this.#tape.run('gatherRows', [rows, index, gathered], [order.length, rows.shape[1]!, 0]);
    this.#tape.done(index);
    return gathered;
  }

  /** A piece is one bag; all but the last are of one length. */
  #sequence(count: number): Sequence {
    let sequence = this.#sequences.get(count);
    if (!sequence) this.#sequences.set(count, (sequence = new Sequence(this.#tape, [0, count])));
    return sequence;
  }

  #newCarry({ branch }: Pick<BlockWeights, 'branch'>): BranchCarry {
    const [E, N] = [branch.ALog.shape[0]!, branch.ALog.shape[1]!];
    return {
      tail: this.#tape.zeros([E, branch.convWeight.shape.at(-1)! - 1]),
      state: this.#tape.zeros([1, E, N]),
    };
  }

  async #openStore(rows: number): Promise<RowStore> {
    const store = await openRowStore(this.device, rows, this.model.config.width, this.options.mostDeviceBytes);
    this.#stores.push(store);
    return store;
  }
}

/** Layers in runs of one direction. */
function sameDirection(layers: readonly MambaLayer[]): MambaLayer[][] {
  const runs: MambaLayer[][] = [];
  for (const layer of layers) {
    if (runs.at(-1)?.[0]?.reversed === layer.reversed) runs.at(-1)!.push(layer);
    else runs.push([layer]);
  }
  return runs;
}

/** Where the second branch keeps the rows of the bag. */
interface SecondOrder {
  /** With padding. */
  readonly rows: number;
  readonly reversed: boolean;
  /** The places of a run of the bag's rows, and which row of the run goes to each (null: as they are). */
  of(run: RowRun): { readonly runs: readonly RowRun[]; readonly order: Int32Array | null };
  /** Which rows of a run of places are padding, counted from its first. */
  padding(run: RowRun): readonly number[];
}

function samePlaces(rows: number): SecondOrder {
  return { rows, reversed: true, of: (run) => ({ runs: [run], order: null }), padding: () => [] };
}

/** SRMamba: row p lies at (p mod rate) groups + p div rate, so a run of rows lies in `rate` runs of places. */
function stridedPlaces(count: number, rate: number): SecondOrder {
  const groups = Math.ceil(count / rate);
  return {
    rows: groups * rate,
    reversed: false,
    of({ first, count: length }) {
      const runs: RowRun[] = [];
      const order: number[] = [];
      for (let offset = 0; offset < Math.min(rate, length); offset++) {
        const row = first + offset;
        const own = Math.ceil((length - offset) / rate);
        runs.push({ first: (row % rate) * groups + Math.floor(row / rate), count: own });
        for (let i = 0; i < own; i++) order.push(offset + i * rate);
      }
      return { runs, order: Int32Array.from(order) };
    },
    padding({ first, count: length }) {
      const padding: number[] = [];
      for (let row = count; row < groups * rate; row++) {
        const place = (row % rate) * groups + groups - 1;
        if (place >= first && place < first + length) padding.push(place - first);
      }
      return padding;
    },
  };
}

function inverse(order: Int32Array): Int32Array {
  const inverted = new Int32Array(order.length);
  order.forEach((from, to) => {
    inverted[from] = to;
  });
  return inverted;
}
