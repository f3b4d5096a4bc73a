/** CLAM with a single attention branch (Lu et al. 2021): gated attention, and a clustering loss on its most and least attended instances. */
import { add } from '../kernels/elementwise.ts';
import { gatherRows } from '../kernels/gather.ts';
import { crossEntropy } from '../kernels/loss.ts';
import type { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';
import { type Dense, dense, denseOf, denseShapes } from './dense.ts';
import { createGated, type GatedNames, gatedShapes } from './gated-abmil.ts';
import type { BagOutput, ModelKind, PackedBags } from './model.ts';

/** Instances taken from each end of the attention; all of them in smaller bags. */
const CLUSTER = 8;
const BAG_WEIGHT = 0.7;
const INSTANCE_WEIGHT = 1 - BAG_WEIGHT;
const [NEGATIVE, POSITIVE] = [0, 1];

const names: GatedNames = {
  feature: 'attention_net.0',
  V: 'attention_net.3.attention_a.0',
  U: 'attention_net.3.attention_b.0',
  w: 'attention_net.3.attention_c',
  classifier: 'classifiers',
};

export const clamSb: ModelKind = {
  shapes(config) {
    const clusters = config.classes.flatMap((_, k) => denseShapes(`instance_classifiers.${k}`, 2, config.width));
    return new Map([...gatedShapes(config, names), ...clusters]);
  },

  create(config, parameters) {
    const clusters = config.classes.map((_, k) => denseOf(parameters, `instance_classifiers.${k}`));
    return {
      ...createGated(config, parameters, names),
      loss(tape, bags, output, labels, { classWeights = null, scale = 1 }) {
        const bagLoss = crossEntropy(tape, output.logits, labels, classWeights, BAG_WEIGHT * scale);
        const weight = INSTANCE_WEIGHT / labels.length;
        const parts = labels.flatMap((label, bag) =>
          clusters.map((cluster, k) => clusterLoss(tape, bags, output, bag, cluster, k === label, weight * scale)),
        );
        const instanceLoss = parts.reduce((sum, part) => add(tape, sum, part));
        return tape.keep(add(tape, bagLoss, instanceLoss, BAG_WEIGHT, weight));
      },
    };
  },
};

/**
 * In a bag of the class, its most attended instances should look like the class and its least attended ones should not;
 * in a bag of another class, even the most attended ones should not.
 */
function clusterLoss(
  tape: Tape,
  bags: PackedBags,
  output: BagOutput,
  bag: number,
  cluster: Dense,
  present: boolean,
  scale: number,
): Tensor {
  const first = bags.offsets[bag]!;
  const count = bags.offsets[bag + 1]! - first;
  const k = Math.min(CLUSTER, count);
  const scores = output.scores!;
  const window = tensor(scores.storage, scores.offset + first, [count]);
  const index = tape.create([present ? 2 * k : k]);
  tape.run('topK', [window, tensor(index.storage, 0, [k])], [count, k, 1]);
  if (present) tape.run('topK', [window, tensor(index.storage, k, [k])], [count, k, 0]);

  const instances = output.instances!;
  const width = instances.shape[1]!;
  const rows = gatherRows(tape, tape.view(instances, first * width, [count, width]), index);
  const targets = Array.from({ length: index.length }, (_, i) => (present && i < k ? POSITIVE : NEGATIVE));
  return crossEntropy(tape, dense(tape, rows, cluster), targets, null, scale);
}
