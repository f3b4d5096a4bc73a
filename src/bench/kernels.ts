/** `lamina bench kernels`: the kernels of the device that was asked for; on the CPU with one, two and all threads. */
import { availableParallelism } from 'node:os';
import type { Device } from '../kernels/device.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { Tape } from '../kernels/tape.ts';
import { openWasm } from '../kernels/wasm/open-node.ts';
import { benchDevice, fullSizes, type KernelSizes, productShapes, quickSizes } from './device-kernels.ts';
import { checkProduct, productCase } from './layer-cases.ts';
import { openOnnxruntimeProduct } from './onnxruntime-product.ts';
import { plainScan, type ScanArrays } from './plain-scan.ts';
import { type Report, type Result, resultOf, withoutMarks } from './result.ts';
import { scanArrays } from './scan-cases.ts';
import { bestOf, timeTogether, type Work } from './timing.ts';

export interface KernelOptions {
  readonly device?: DeviceChoice;
  readonly threads?: number;
  /** Small sizes: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly say?: (what: string) => void;
}

/** How many times as fast as a plain JavaScript loop the scan has to be, by the number of threads. */
const TIMES_PLAIN: Readonly<Record<number, number>> = { 1: 5, 2: 9 };
/** The share of onnxruntime-node's rate that the wasm product has to reach. */
const SHARE_OF_NATIVE = 0.3;

/** @throws WrongResult before anything is timed that is wrong. */
export async function benchKernels(options: KernelOptions = {}): Promise<Report> {
  const { quick = false, say = () => {} } = options;
  const sizes = quick ? quickSizes : fullSizes;
  const marked = (results: readonly Result[]) => (quick ? withoutMarks(results) : results);
  const device = await openDevice(options.device ?? 'auto', { threads: options.threads });
  try {
    say('plain loops');
    const plain = timePlain(scanArrays(sizes), sizes);
    if (device.kind === 'webgpu') {
      const results = await benchDevice(device, sizes, { label: 'GPU', plain, say });
      return { device: device.name, notes: [], results: marked(results) };
    }
    const most = options.threads ?? availableParallelism();
    const results: Result[] = [];
    for (const threads of [...new Set([1, 2, most])].filter((count) => count <= most).reverse()) {
      // The wasm kernels by themselves: their product is the arithmetic that a wasm kernel can reach.
      const own = await openWasm({ threads, native: false });
      try {
        const label = `${threads} ${threads === 1 ? 'thread' : 'threads'}`;
        results.push(
          ...(await benchDevice(own, sizes, {
            label,
            only: threads === most ? undefined : 'scan',
            plain,
            timesPlain: TIMES_PLAIN[threads],
            say: (what) => say(`${what}, ${label}`),
          })),
        );
        if (threads === most) results.push(...(await compareProducts(own, device, { sizes, threads, label, say })));
      } finally {
        await own.close();
      }
    }
    return { device: device.name, notes: hasNative(device) ? [] : [NO_NATIVE], results: marked(results) };
  } finally {
    await device.close();
  }
}

const NO_NATIVE = 'onnxruntime has no native product on this platform: the wasm product is not compared with it';

/** A device says what it computes products with in its name. */
function hasNative(device: Device): boolean {
  return device.name.includes('onnxruntime');
}

function timePlain(arrays: ScanArrays, { K }: KernelSizes): Record<'forward-only' | 'LB', number> {
  const time = (segment: number) => {
    const rounds = [0, 1, 2].map(() => {
      const start = performance.now();
      plainScan(arrays, segment);
      return performance.now() - start;
    });
    return bestOf(rounds).best;
  };
  return { 'forward-only': time(0), LB: time(K) };
}

/** What a call through onnxruntime's own API is timed as: it comes back when it is done. */
const NO_DEVICE = { finish: async () => {} };

/**
 * The wasm product against onnxruntime-node's own call (the mark), and that against the same library called in place, which is
 * what the device uses. All three are checked, and timed in turn.
 */
async function compareProducts(
  own: Device,
  native: Device,
  { sizes, threads, label, say }: { sizes: KernelSizes; threads: number; label: string; say: (what: string) => void },
): Promise<Result[]> {
  if (!hasNative(native)) return [];
  const results: Result[] = [];
  for (const shape of productShapes(sizes)) {
    const tapes = [new Tape(own), new Tape(native)] as const;
    const onnxruntime = await openOnnxruntimeProduct(shape, threads);
    try {
      const cases = tapes.map((tape) => productCase(tape, shape));
      const { name, flops } = cases[0]!;
      say(`${name}, wasm and native`);
      for (const one of cases) {
        one.run();
        await one.check();
      }
      const Y = await onnxruntime.run();
      await checkProduct(name, shape, (row) => Y.subarray(row * shape.n, (row + 1) * shape.n));
      const works: Work[] = cases.map((one, i) => ({ device: tapes[i]!.device, run: one.run }));
      const timings = await timeTogether([...works, { device: NO_DEVICE, run: onnxruntime.run }], sizes);
      const [ours, inPlace, called] = timings.map(({ best }) => flops / best / 1e6) as [number, number, number];
      results.push(
        resultOf(`${name}, wasm against onnxruntime-node, ${label}`, ours, 'GFLOP/s', {
          baseline: called,
          spread: timings[0]!.spread,
          mark: { least: SHARE_OF_NATIVE },
        }),
        resultOf(`${name}, onnxruntime in place against onnxruntime-node, ${label}`, inPlace, 'GFLOP/s', {
          baseline: called,
          spread: timings[1]!.spread,
        }),
      );
    } finally {
      await onnxruntime.close();
      for (const tape of tapes) tape.close();
    }
  }
  return results;
}
