/**
 * The attention hidden in a scan (Ali et al., The Hidden Attention of Mamba Models), also of its locally bi-directional form; the
 * derivation is in docs/explanations.md.
 *
 * Between u and p, a scan is linear in u with a matrix M of each channel: p_t = sum_j M_tj u_j. Never M itself, which is L x L,
 * but what token j gives to the tokens that matter, sum_t q_t M_tj u_j, comes out of one scan backwards: O(L).
 */
import { conv1d } from '../kernels/conv1d.ts';
import type { Device } from '../kernels/device.ts';
import { activate } from '../kernels/elementwise.ts';
import { reorderColumns } from '../kernels/gather.ts';
import type { BranchWeights } from '../kernels/mamba-branch.ts';
import { matmul } from '../kernels/matmul.ts';
import { layerNorm } from '../kernels/norm.ts';
import { type ScanInputs, selectiveScan } from '../kernels/selective-scan.ts';
import { type SegmentLength, Sequence } from '../kernels/sequence.ts';
import { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { stridedOrder } from '../row-order.ts';
import { layerOrders, type MambaLayer, type MambaMil, runLayer } from './mambamil.ts';

export interface ScanShape {
  readonly K: SegmentLength;
  readonly reversed: boolean;
}

/** One bag's scan without gate and skip: u, delta (D, L), A (D, N), B, C (N, L), deltaBias (D). */
export type PlainScan = Pick<ScanInputs, 'u' | 'delta' | 'A' | 'B' | 'C' | 'deltaBias'>;

/** (D, L): sum_t q_t M_tj u_j of each channel and token j. @param weights q (L). */
export async function scanContributions(
  device: Device,
  scan: PlainScan,
  weights: Float32Array,
  shape: ScanShape,
): Promise<Float32Array> {
  const tape = new Tape(device, { training: true, dropout: false });
  try {
    const [D, L] = scan.u.shape as [number, number];
    const u: Tensor = { ...scan.u, needsGradient: true };
    const y = selectiveScan(tape, { ...scan, u }, new Sequence(tape, [0, L]), shape);
    const dy = new Float32Array(D * L);
    for (let d = 0; d < D; d++) dy.set(weights, d * L);
    tape.backward([[y, tape.constant(dy, [D, L])]]);
    const given = tape.create([D, L]);
    tape.run('multiply', [tape.gradientOf(u)!, u, given], [D * L, 0]);
    return await device.read(given);
  } finally {
    tape.close();
  }
}

/**
 * For each patch of a bag its share, all of them adding up to one: in each layer the mean size of what it gives to the tokens, as
 * the model's attention weighs them, over the channels; then the mean over the layers.
 *
 * @param attention of the model over the patches.
 * @param cells for models that scan the grid in orders of their own.
 */
export async function hiddenAttention(
  model: MambaMil,
  device: Device,
  features: Float32Array,
  attention: Float32Array,
  cells: Int32Array | null,
): Promise<Float32Array> {
  const { type, K, rate, input } = model.config;
  const L = attention.length;
  const tape = new Tape(device);
  try {
    const rows = tape.constant(features, [L, input]);
    const sequence = new Sequence(tape, [0, L]);
    const orders = layerOrders(model.layers, { features: rows, offsets: [0, L], cells });
    const shares = new Float32Array(L);
    let h = model.embed(tape, rows);
    for (const [i, layer] of model.layers.entries()) {
      const found = await layerContributions(tape, h, layer, orders[i]!, attention, { type, K, rate });
      const total = found.reduce((sum, value) => sum + value, 0);
      found.forEach((value, row) => {
        shares[row]! += total > 0 ? value / total / model.layers.length : 1 / L / model.layers.length;
      });
      h = runLayer(tape, h, layer, sequence, orders[i]!, { type, K, rate });
    }
    return shares;
  } finally {
    tape.close();
  }
}

/** One scan of a layer: its weights, where it reads the rows (-1: padding), and its shape. */
interface Branch {
  readonly weights: BranchWeights;
  readonly order: Int32Array | null;
  readonly shape: ScanShape;
}

function branchesOf(
  { block, local, reversed }: MambaLayer,
  orders: readonly Int32Array[],
  L: number,
  { type, K, rate }: Pick<MambaMil['config'], 'type' | 'K' | 'rate'>,
): Branch[] {
  const shape = { K: type === 'lbmamba' ? K : 0, reversed };
  if (local) return local.branches.map((weights, i) => ({ weights, order: orders[i]!, shape }));
  const first: Branch = { weights: block!.branch, order: orders[0] ?? null, shape };
  if (!block!.second) return [first];
  const second =
    type === 'bimamba'
      ? { order: null, shape: { K: 0, reversed: true } }
      : { order: stridedOrder(L, rate).map((row) => (row < L ? row : -1)), shape: { K: 0, reversed: false } };
  return [first, { weights: block!.second, ...second }];
}

/** (L): sum over the scans of a layer of the mean over channels of |contribution|. */
async function layerContributions(
  tape: Tape,
  h: Tensor,
  layer: MambaLayer,
  orders: readonly Int32Array[],
  attention: Float32Array,
  config: Pick<MambaMil['config'], 'type' | 'K' | 'rate'>,
): Promise<Float32Array> {
  const L = attention.length;
  const x = layerNorm(tape, h, layer.norm.weight, layer.norm.bias);
  const xz = matmul(tape, (layer.local ?? layer.block!).inProj, x, { transB: true });
  tape.done(x);
  const sums = new Float32Array(L);
  for (const { weights, order, shape } of branchesOf(layer, orders, L, config)) {
    const read = order ? reorderColumns(tape, xz, order) : xz;
    const tokens = order?.length ?? L;
    const scan = scanOf(tape, read, weights, tokens, shape.reversed);
    const q = order ? Float32Array.from(order, (row) => (row < 0 ? 0 : attention[row]!)) : attention;
    const given = await scanContributions(tape.device, scan, q, shape);
    const channels = given.length / tokens;
    for (let e = 0; e < channels; e++) {
      for (let t = 0; t < tokens; t++) {
        const row = order ? order[t]! : t;
        if (row >= 0) sums[row]! += Math.abs(given[e * tokens + t]!) / channels;
      }
    }
    tape.done(scan.u, scan.delta, scan.A, order ? read : null);
  }
  tape.done(xz);
  return sums;
}

/** What a branch hands to its scan (mamba-block.md), of xz (2E, L). */
function scanOf(tape: Tape, xz: Tensor, w: BranchWeights, tokens: number, reversed: boolean): PlainScan {
  const [E, N] = w.ALog.shape as [number, number];
  const R = w.dtProj.shape[1]!;
  const x = tensor(xz.storage, xz.offset, [E, tokens]);
  const sequence = new Sequence(tape, [0, tokens]);
  const u = conv1d(tape, x, w.convWeight, w.convBias, sequence, { silu: true, reversed });
  const rows = matmul(tape, w.xProj, u);
  const window = (row: number, count: number) => tensor(rows.storage, rows.offset + row * tokens, [count, tokens]);
  const delta = matmul(tape, w.dtProj, window(0, R));
  const A = activate(tape, w.ALog, 'negExp');
  return { u, delta, A, B: window(R, N), C: window(R + N, N), deltaBias: w.dtBias };
}
