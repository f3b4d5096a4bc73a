/** The selective scan, forward-only or locally bi-directional (LB), on the tape. lbmamba-scan.md. */
import type { SegmentLength, Segments, Sequence } from './sequence.ts';
import type { Tape } from './tape.ts';
import type { Tensor } from './tensor.ts';

export interface ScanInputs {
  /** (D, L) each; z is the gate. */
  readonly u: Tensor;
  readonly delta: Tensor;
  readonly z?: Tensor | null;
  /** (D, N), all entries negative. */
  readonly A: Tensor;
  /** (N, L) each. */
  readonly B: Tensor;
  readonly C: Tensor;
  /** (D): skip weight and delta bias. */
  readonly D?: Tensor | null;
  readonly deltaBias?: Tensor | null;
}

export interface ScanOptions {
  readonly K: SegmentLength;
  readonly softplus?: boolean;
  readonly reversed?: boolean;
  /** (bags, D, N): state before the first token of each bag (inference over pieces). */
  readonly stateIn?: Tensor | null;
  /** (bags, D, N): written with the state after the last token of each bag. */
  readonly stateOut?: Tensor | null;
}

/** y (D, L). */
export function selectiveScan(tape: Tape, inputs: ScanInputs, sequence: Sequence, options: ScanOptions): Tensor {
  const needsGradient = Object.values(inputs).some((t?: Tensor | null) => t?.needsGradient);
  const y = tape.create(inputs.u.shape, needsGradient);
  const segments = sequence.segments(options.K, options.reversed ?? false);
  const carries = tape.recording && needsGradient ? createCarries(tape, inputs, segments) : null;
  runScan(tape, inputs, sequence, segments, options, y, carries);
  tape.record([y], carries ? [carries] : [], () => {
    const slots = {} as Record<keyof ScanGradients, Tensor | null>;
    const added: [Tensor, Tensor][] = [];
    for (const name of ['u', 'delta', 'z', 'B', 'C'] as const) {
      const t = inputs[name];
      slots[name] = null;
      if (!t) continue;
      const slot = tape.gradientSlot(t);
      slots[name] = slot.view;
      if (slot.accumulate) {
        slots[name] = tape.create(t.shape);
        added.push([slot.view, slots[name]]);
      }
    }
    slots.A = tape.zeroedSlot(inputs.A);
    slots.D = inputs.D ? tape.zeroedSlot(inputs.D) : null;
    slots.deltaBias = inputs.deltaBias ? tape.zeroedSlot(inputs.deltaBias) : null;
    runScanBackward(tape, inputs, segments, options, carries!, tape.gradientOf(y)!, slots as ScanGradients);
    for (const [total, part] of added) {
      tape.run('add', [total, part, total], [part.length, 1, 1]);
      tape.discard(part);
    }
  });
  return y;
}

export interface ScanGradients {
  readonly u: Tensor;
  readonly delta: Tensor;
  readonly z: Tensor | null;
  readonly A: Tensor;
  readonly B: Tensor;
  readonly C: Tensor;
  readonly D: Tensor | null;
  readonly deltaBias: Tensor | null;
}

/** States at the start of each chunk of segments: all that the backward pass needs besides the inputs. */
export function createCarries(tape: Tape, inputs: ScanInputs, segments: Segments): Tensor {
  const chunks = Math.ceil(segments.count / tape.device.scanChunk);
  return tape.create([chunks, inputs.A.shape[0]!, inputs.A.shape[1]!]);
}

export function runScan(
  tape: Tape,
  inputs: ScanInputs,
  sequence: Sequence,
  segments: Segments,
  options: ScanOptions,
  y: Tensor,
  carries: Tensor | null,
): void {
  const { u, delta, A, B, C, D = null, z = null, deltaBias = null } = inputs;
  if (u.shape[1] !== sequence.tokens) throw new Error(`scan of ${u.shape[1]} tokens in bags of ${sequence.tokens}`);
  if (segments.count === 0) return;
  tape.run(
    'selectiveScan',
    [u, delta, A, B, C, D, z, deltaBias, segments.table, options.stateIn ?? null, y, carries, options.stateOut ?? null],
    scanParams(inputs, segments, options),
  );
}

export function runScanBackward(
  tape: Tape,
  inputs: ScanInputs,
  segments: Segments,
  options: ScanOptions,
  carries: Tensor,
  dy: Tensor,
  g: ScanGradients,
): void {
  const { u, delta, A, B, C, D = null, z = null, deltaBias = null } = inputs;
  if (segments.count === 0) return;
  tape.run(
    'selectiveScanBackward',
    [
      u,
      delta,
      A,
      B,
      C,
      D,
      z,
      deltaBias,
      segments.table,
      carries,
      dy,
      g.u,
      g.delta,
      g.A,
      g.B,
      g.C,
      g.D,
      g.z,
      g.deltaBias,
    ],
    scanParams(inputs, segments, options),
  );
}

function scanParams(inputs: ScanInputs, segments: Segments, options: ScanOptions): number[] {
  const [D, L] = [inputs.u.shape[0]!, inputs.u.shape[1]!];
  return [D, L, inputs.A.shape[1]!, segments.count, segments.longest, segments.local, Number(options.softplus ?? true)];
}
