/** Losses of a training step. Each leaves the gradient of its logits on the tape. */
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

/** loss (1): mean cross-entropy of logits (bags, classes), weighted by class if weights (classes) are given. `scale` multiplies the gradient (accumulation). */
export function crossEntropy(
  tape: Tape,
  logits: Tensor,
  labels: readonly number[],
  weights: Tensor | null = null,
  scale = 1,
): Tensor {
  const [b, c] = [logits.shape[0]!, logits.shape[1]!];
  const wrong = labels.find((label) => !(Number.isInteger(label) && label >= 0 && label < c));
  if (labels.length !== b || wrong !== undefined) throw new Error(`labels [${labels}] for ${b} bags of ${c} classes`);
  const loss = tape.keep(tape.create([1]));
  const dlogits = tape.create([b, c]);
  tape.run(
    'crossEntropy',
    [logits, tape.constant(Int32Array.from(labels), [b]), weights, loss, dlogits],
    [b, c, scale],
  );
  leave(tape, logits, dlogits);
  return loss;
}

export interface Survival {
  readonly loss: Tensor;
  /** (bags, bins) */
  readonly hazards: Tensor;
  readonly survival: Tensor;
  /** (bags): minus the sum of the survival curve; larger is worse. */
  readonly risk: Tensor;
}

/** Discrete-time survival (mambamil.md): `bins` and `censored` (0 or 1) per bag. */
export function survivalLoss(
  tape: Tape,
  logits: Tensor,
  bins: readonly number[],
  censored: readonly number[],
  alpha = 0,
  scale = 1,
): Survival {
  const [b, c] = [logits.shape[0]!, logits.shape[1]!];
  const wrong = bins.find((bin) => !(Number.isInteger(bin) && bin >= 0 && bin < c));
  if (bins.length !== b || censored.length !== b || wrong !== undefined)
    throw new Error(`bins [${bins}] for ${b} bags of ${c} bins`);
  const [loss, hazards, survival, risk] = [[1], [b, c], [b, c], [b]].map((shape) => tape.keep(tape.create(shape))) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const dlogits = tape.create([b, c]);
  tape.run(
    'survivalLoss',
    [
      logits,
      tape.constant(Int32Array.from(bins), [b]),
      tape.constant(Int32Array.from(censored), [b]),
      loss,
      dlogits,
      hazards,
      survival,
      risk,
    ],
    [b, c, alpha, scale],
  );
  leave(tape, logits, dlogits);
  return { loss, hazards, survival, risk };
}

function leave(tape: Tape, logits: Tensor, dlogits: Tensor): void {
  const { view, accumulate } = tape.gradientSlot(logits);
  tape.run('add', accumulate ? [view, dlogits, view] : [dlogits, null, view], [dlogits.length, 1, accumulate]);
  tape.discard(dlogits);
}
