/** Times the kernels of one device, each checked first, and says how far each is from what the device could do at best. */
import type { Device } from '../kernels/device.ts';
import { Tape } from '../kernels/tape.ts';
import { expectClose } from './check.ts';
import { type Cost, type KernelCase, uniform } from './kernel-case.ts';
import { attentionPoolCase, conv1dCase, layerNormCase, type ProductShape, productCase } from './layer-cases.ts';
import type { ScanArrays } from './plain-scan.ts';
import { type Floor, type Limit, type Result, resultOf } from './result.ts';
import {
  halfScanCase,
  type ScanForm,
  type ScanPass,
  type ScanShape,
  scanArrays,
  scanCases,
  scanForms,
  scanName,
  scanPasses,
} from './scan-cases.ts';
import { type Rounds, type Timing, timeTogether } from './timing.ts';

export interface KernelSizes extends ScanShape, Rounds {
  /** Feature width, and width of the model; the scan's D is twice that. */
  readonly input: number;
  readonly width: number;
  /** Side of the square product that stands for the device's arithmetic. */
  readonly square: number;
  /** Floats of the copy that stands for its memory. */
  readonly copy: number;
}

export const fullSizes: KernelSizes = {
  input: 1024,
  width: 512,
  D: 1024,
  L: 10_000,
  N: 16,
  K: 16,
  square: 2048,
  copy: 2 ** 25,
  rounds: 5,
  roundMs: 30,
};

export const quickSizes: KernelSizes = {
  input: 64,
  width: 32,
  D: 64,
  L: 500,
  N: 16,
  K: 16,
  square: 192,
  copy: 2 ** 18,
  rounds: 3,
  roundMs: 2,
};

/** The products of LBMamba MIL at these sizes, one of its gradients, and a square one. */
export function productShapes({ input, width: d, D: E, L, N, square }: KernelSizes): ProductShape[] {
  const R = Math.ceil(d / 16);
  return [
    { what: 'square', m: square, n: square, k: square },
    { what: 'embed', m: L, n: d, k: input, transB: true },
    { what: 'in_proj', m: 2 * E, n: L, k: d, transB: true },
    { what: 'x_proj', m: R + 2 * N, n: L, k: E },
    { what: 'dt_proj', m: E, n: L, k: R },
    { what: 'out_proj', m: L, n: d, k: E, transA: true, transB: true },
    { what: 'gradient of embed', m: d, n: input, k: L, transA: true },
  ];
}

/** What a device can do at best. */
export interface Capability {
  /** Bytes, and multiplications and additions, in a millisecond. */
  readonly bytesPerMs: number;
  readonly flopsPerMs: number;
}

export interface DeviceOptions {
  /** Stands behind every name: `2 threads`. */
  readonly label: string;
  /** All kernels, or the scan alone. */
  readonly only?: 'scan';
  /** Milliseconds of a plain JavaScript loop of the scan, forward. */
  readonly plain: Readonly<Record<'forward-only' | 'LB', number>>;
  /** How many times as fast as the plain loop the scan has to be. */
  readonly timesPlain?: number;
  readonly say?: (what: string) => void;
}

/** @throws WrongResult before anything is timed that is wrong. */
export async function benchDevice(device: Device, sizes: KernelSizes, options: DeviceOptions): Promise<Result[]> {
  const { label, only, say = () => {} } = options;
  const { capability, results } = await measureCapability(device, sizes, label);
  const time = async (makers: readonly ((tape: Tape) => KernelCase[])[]) => {
    for (const make of makers) {
      for (const timed of await timeCases(device, make, sizes, say)) results.push(opResult(timed, capability, label));
    }
  };
  if (only !== 'scan') {
    const { D, L, width } = sizes;
    await time([
      ...productShapes(sizes).map((shape) => (tape: Tape) => [productCase(tape, shape)]),
      (tape) => [conv1dCase(tape, D, L)],
      (tape) => [layerNormCase(tape, L, width)],
      (tape) => [attentionPoolCase(tape, L, width)],
    ]);
  }
  results.push(...(await scanResults(device, sizes, scanArrays(sizes), capability, options)));
  return results;
}

interface TimedCase {
  readonly of: KernelCase;
  readonly timing: Timing;
}

/** Checks each case after one run, then times them in turn. */
export async function timeCases(
  device: Device,
  make: (tape: Tape) => readonly KernelCase[],
  rounds: Rounds,
  say: (what: string) => void = () => {},
): Promise<TimedCase[]> {
  const tape = new Tape(device);
  try {
    const cases = make(tape);
    for (const one of cases) {
      say(one.name);
      one.run();
      await one.check();
    }
    const timings = await timeTogether(
      cases.map((one) => ({ device, run: () => one.run() })),
      rounds,
    );
    return cases.map((of, i) => ({ of, timing: timings[i]! }));
  } finally {
    tape.close();
  }
}

async function measureCapability(device: Device, sizes: KernelSizes, label: string) {
  const n = Math.min(sizes.copy, device.maxStorageBytes / 4);
  const { square } = sizes;
  const [copied] = await timeCases(device, (tape) => [copyCase(tape, n)], sizes);
  const shape = { what: 'square', m: square, n: square, k: square };
  const [product] = await timeCases(device, (tape) => [productCase(tape, shape)], sizes);
  const capability: Capability = {
    bytesPerMs: copied!.of.bytes / copied!.timing.best,
    flopsPerMs: product!.of.flops / product!.timing.best,
  };
  const { spread } = copied!.timing;
  const results: Result[] = [
    resultOf(`copy bandwidth, ${label}`, capability.bytesPerMs / 1e6, 'GB/s', { spread }),
    resultOf(`matmul rate, ${label}`, capability.flopsPerMs / 1e6, 'GFLOP/s', { spread: product!.timing.spread }),
  ];
  return { capability, results };
}

/** Nothing to compute: what it takes to read and write memory. */
function copyCase(tape: Tape, n: number): KernelCase {
  const [from, to] = [tape.constant(uniform(19, n), [n]), tape.create([n])];
  return {
    name: `copy of ${n} floats`,
    bytes: 8 * n,
    flops: 0,
    run: () => tape.run('add', [from, null, to], [n, 1, 0]),
    async check() {
      const [read, written] = [await tape.device.read(from), await tape.device.read(to)];
      expectClose(this.name, written, read, 0);
    },
  };
}

function opResult({ of, timing }: TimedCase, capability: Capability, label: string, baseline?: number, mark?: Limit) {
  const floor = floorOf(of, capability);
  return resultOf(`${of.name}, ${label}`, timing.best, 'ms', { ...timing, floor, baseline, mark });
}

export function floorOf({ bytes, flops }: Cost, { bytesPerMs, flopsPerMs }: Capability): Floor {
  const [moving, computing] = [bytes / bytesPerMs, flops / flopsPerMs];
  return { value: Math.max(moving, computing), by: moving >= computing ? 'bytes' : 'flops', bytes, flops };
}

/** How much more LB may cost than forward-only. */
const LB_COST: Readonly<Record<Device['kind'], Readonly<Record<ScanPass, number>>>> = {
  wasm: { forward: 1.25, 'forward + backward': 1.35 },
  webgpu: { forward: 1.1, 'forward + backward': 1.35 },
};

async function scanResults(
  device: Device,
  sizes: KernelSizes,
  arrays: ScanArrays,
  capability: Capability,
  { label, plain, timesPlain, say }: DeviceOptions,
): Promise<Result[]> {
  const timed = await timeCases(device, (tape) => scanCases(tape, sizes, arrays), sizes, say);
  const of = (form: ScanForm, pass: ScanPass) => timed.find((one) => one.of.name === scanName(form, pass))!;
  const faster = timesPlain === undefined ? undefined : { least: timesPlain };
  const results = scanPasses.flatMap((pass) =>
    scanForms.map((form) => {
      const loop = pass === 'forward' && form !== 'two directions';
      return opResult(of(form, pass), capability, label, loop ? plain[form] : undefined, loop ? faster : undefined);
    }),
  );
  const cost = (form: ScanForm, than: ScanForm, pass: ScanPass, mark: Limit) => {
    const times = of(form, pass).timing.best / of(than, pass).timing.best;
    return resultOf(`scan ${form} / ${than}, ${pass}, ${label}`, times, 'x', { mark });
  };
  for (const pass of scanPasses) {
    results.push(cost('LB', 'forward-only', pass, { most: LB_COST[device.kind][pass] }));
    results.push(cost('two directions', 'LB', pass, { least: 1.6 }));
  }
  if (device.kind === 'webgpu') {
    const { of: scan, timing } = of('LB', 'forward');
    const share = scan.bytes / timing.best / capability.bytesPerMs;
    results.push(
      resultOf(`scan LB, forward, share of the copy bandwidth, ${label}`, share, 'x', { mark: { least: 0.6 } }),
    );
  }
  if (device.half) {
    const [half] = await timeCases(device, (tape) => [halfScanCase(tape, sizes, arrays)], sizes, say);
    results.push(opResult(half!, capability, label, of('LB', 'forward').timing.best));
  }
  return results;
}
