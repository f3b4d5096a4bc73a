/** Logits of rows of a cohort by a model that is being trained, and what follows from them on the host. */
import type { Device } from '../kernels/device.ts';
import { Tape } from '../kernels/tape.ts';
import type { BagModel } from '../mil/model.ts';
import { readsPieces, streamBag } from '../mil/stream.ts';
import type { Target, Task } from './target.ts';
import { type BagSource, packedCells, type TrainingBag } from './training-bag.ts';

export interface BagLogits {
  /** Of the cohort. */
  readonly row: number;
  readonly logits: readonly number[];
}

/** Rows of bags computed as one sequence; a longer bag is read in pieces where the model can. */
const PACK_ROWS = 4096;

export async function predictRows(
  device: Device,
  model: BagModel,
  source: BagSource,
  rows: readonly number[],
): Promise<BagLogits[]> {
  const found: BagLogits[] = [];
  let pack: { row: number; bag: TrainingBag }[] = [];
  let held = 0;
  const flush = async () => {
    if (pack.length === 0) return;
    const logits = await packLogits(
      device,
      model,
      pack.map(({ bag }) => bag),
    );
    found.push(...pack.map(({ row }, i) => ({ row, logits: logits[i]! })));
    [pack, held] = [[], 0];
  };
  for (const row of rows) {
    const bag = await source.read(row);
    if (bag.count > PACK_ROWS && readsPieces(model)) {
      const { features, count, dimension } = bag;
      const read = async (first: number, n: number) => features.subarray(first * dimension, (first + n) * dimension);
      const { logits } = await streamBag(model, device, { count, dimension, read });
      found.push({ row, logits: [...logits] });
      continue;
    }
    if (held + bag.count > PACK_ROWS) await flush();
    pack.push({ row, bag });
    held += bag.count;
  }
  await flush();
  const places = new Map(rows.map((row, i) => [row, i]));
  return found.sort((a, b) => places.get(a.row)! - places.get(b.row)!);
}

async function packLogits(device: Device, model: BagModel, bags: readonly TrainingBag[]): Promise<number[][]> {
  const offsets = [0];
  for (const { count } of bags) offsets.push(offsets.at(-1)! + count);
  const dimension = bags[0]!.dimension;
  const tape = new Tape(device);
  try {
    const features = tape.create([offsets.at(-1)!, dimension]);
    bags.forEach((bag, i) => {
      device.write(features.storage, bag.features, offsets[i]! * dimension);
    });
    const { logits } = model.forward(tape, { features, offsets, cells: packedCells(bags) });
    const values = [...(await device.read(logits))];
    const classes = values.length / bags.length;
    return bags.map((_, i) => values.slice(i * classes, (i + 1) * classes));
  } finally {
    tape.close();
  }
}

export function probabilitiesOf(logits: readonly number[]): number[] {
  const most = Math.max(...logits);
  const parts = logits.map((logit) => Math.exp(logit - most));
  const total = parts.reduce((sum, part) => sum + part, 0);
  return parts.map((part) => part / total);
}

/** Hazards of the time bins (mambamil.md). */
export function hazardsOf(logits: readonly number[]): number[] {
  return logits.map((logit) => 1 / (1 + Math.exp(-logit)));
}

/** Minus the sum of the survival curve; larger is worse. */
export function riskOf(logits: readonly number[]): number {
  let [survival, risk] = [1, 0];
  for (const hazard of hazardsOf(logits)) risk -= survival *= 1 - hazard;
  return risk;
}

const SMALLEST = 1e-7;

/** Mean loss without class weights. */
export function lossOf(task: Task, predictions: readonly BagLogits[], targets: readonly Target[]): number {
  const log = (value: number) => Math.log(Math.max(value, SMALLEST));
  const losses = predictions.map(({ logits }, i) => {
    const { label, censored } = targets[i]!;
    if (task === 'classification') return -log(probabilitiesOf(logits)[label]!);
    const hazards = hazardsOf(logits);
    const survival = (bin: number) => hazards.slice(0, bin + 1).reduce((product, hazard) => product * (1 - hazard), 1);
    return censored ? -log(survival(label)) : -(log(survival(label - 1)) + log(hazards[label]!));
  });
  return losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
}
