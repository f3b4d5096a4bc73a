/**
 * Runs a golden case on a device: one runner a kind, none knows a case's name. No file access and no test framework here, so
 * that the same runner goes into a browser bundle.
 */
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import type { HostTensor } from '../../src/mil/safetensors.ts';
import { errorRatio } from './compare.ts';
import { layerKinds } from './layer-cases.ts';
import { modelKinds } from './model-cases.ts';
import { orderKinds } from './order-cases.ts';
import { scanKinds } from './scan-cases.ts';
import type { Golden, GoldenCase } from './source.ts';

/** Computed values by output name. */
export type Outputs = Readonly<Record<string, ArrayLike<number>>>;

/** What a runner works with. */
export interface Bench {
  readonly golden: Golden;
  readonly case: GoldenCase;
  readonly device: Device;
  /** A stored input of the case; undefined if it has none of that name. */
  input(name: string): HostTensor | undefined;
  /** An input that the kind always has. */
  need(name: string): HostTensor;
  /** A tape for gradients, closed after the case. */
  tape(training: boolean): Tape;
  /** The gradient that reached a tensor; zeros where none did. */
  gradient(tape: Tape, t: Tensor): Promise<Float32Array>;
}

export type Runner = (bench: Bench) => Promise<Outputs>;

const runners: Readonly<Record<string, Runner>> = { ...scanKinds, ...layerKinds, ...modelKinds, ...orderKinds };

export interface CaseResult {
  /** Largest error over tolerance of its outputs; at most 1 passes. */
  readonly worst: number;
  /** The output with the largest. */
  readonly output: string;
}

/** @throws Error for a kind that has no runner, or an output that the runner does not compute. */
export async function runCase(golden: Golden, goldenCase: GoldenCase, device: Device): Promise<CaseResult> {
  const runner = runners[goldenCase.kind];
  if (!runner) throw new Error(`no runner for cases of kind "${goldenCase.kind}"`);
  const tensors = await golden.tensors(goldenCase.file);
  const tapes: Tape[] = [];
  const input = (name: string) => tensors.get(`${goldenCase.name}/in/${name}`);
  const bench: Bench = {
    golden,
    case: goldenCase,
    device,
    input,
    need(name) {
      const found = input(name);
      if (!found) throw new Error(`${goldenCase.name} has no input ${name}`);
      return found;
    },
    tape(training) {
      const tape = new Tape(device, { training, seed: 0 });
      tapes.push(tape);
      return tape;
    },
    async gradient(tape, t) {
      const gradient = tape.gradientOf(t);
      return gradient ? device.read(gradient) : new Float32Array(t.length);
    },
  };
  try {
    return compareOutputs(goldenCase, tensors, await runner(bench));
  } finally {
    for (const tape of tapes) tape.close();
  }
}

function compareOutputs(goldenCase: GoldenCase, tensors: ReadonlyMap<string, HostTensor>, got: Outputs): CaseResult {
  const { name, outputs, tensors: exact } = goldenCase;
  // Cases without outputs are exact integers; `coords` is what they start from.
  const rules = outputs
    ? Object.entries(outputs).map(([output, rule]) => ({ output, key: `${name}/out/${output}`, rule }))
    : Object.keys(exact ?? {})
        .filter((output) => output !== 'coords')
        .map((output) => ({ output, key: `${name}/${output}`, rule: { tol: 0, atol: 0 } }));
  let result: CaseResult = { worst: -1, output: '' };
  for (const { output, key, rule } of rules) {
    const reference = tensors.get(key);
    if (!reference) throw new Error(`${goldenCase.file} has no tensor ${key}`);
    const values = got[output];
    if (!values) throw new Error(`${name}: output ${output} is not computed`);
    const worst = errorRatio(values, reference.data, rule);
    if (worst > result.worst) result = { worst, output };
  }
  if (result.worst < 0) throw new Error(`${name} has no outputs`);
  return result;
}
