/**
 * What the bundle runs on another machine: the golden cases on its GPU and its CPU, then the benchmarks. One JSON object on
 * stdout, what it is doing on stderr. Exit code 0 when every case passed and everything was measured, 1 otherwise.
 */
import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { benchKernels } from '../../src/bench/kernels.ts';
import { machine } from '../../src/bench/machine.ts';
import { benchModel } from '../../src/bench/model.ts';
import type { Report, Result } from '../../src/bench/result.ts';
import { messageOf } from '../../src/errors.ts';
import type { Device } from '../../src/kernels/device.ts';
import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { adapterName, isSoftware, requestAdapter } from '../../src/kernels/webgpu/adapter.ts';
import { createDawn, openWebGpu } from '../../src/kernels/webgpu/open-node.ts';
import { VERSION } from '../../src/version.ts';
import { type CaseReport, runCases } from '../../test/golden/run-cases.ts';
import { openGolden } from '../../test/golden/source.ts';

const USAGE = 'usage: sh run.sh [--golden DIR] [--allow-software]';

interface Options {
  readonly golden: string;
  /** Take a software adapter, and time small sizes on the CPU instead of it: whether everything runs, not how fast. */
  readonly software: boolean;
}

interface Parity {
  readonly device: string;
  readonly passed: number;
  readonly failed: number;
  /** The largest error over tolerance; at most 1 passes. */
  readonly worst: CaseReport | null;
  readonly failures: readonly CaseReport[];
  readonly cases: readonly CaseReport[];
}

interface Benches {
  readonly bench: readonly Result[];
  readonly notes: readonly string[];
}

function say(what: string): void {
  process.stderr.write(`${what}\n`);
}

/** The adapter as it is found: what it is, what it allows, what it can do besides. */
async function describeAdapter(software: boolean) {
  const adapter = await findAdapter(software);
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = adapter.info;
  return {
    adapter: {
      name: adapterName(adapter),
      software: isSoftware(adapter),
      ...{ vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize },
    },
    limits: numbersOf(adapter.limits),
    features: [...adapter.features].sort(),
  };
}

/**
 * Containers often have NVIDIA's driver without the file by which the Vulkan loader finds it, or with a file that names the
 * library for windows, which needs X. So where nothing else is found and none was named, its two libraries are tried.
 */
async function findAdapter(software: boolean): Promise<GPUAdapter> {
  const { env } = process;
  const named = env.VK_DRIVER_FILES || env.VK_ICD_FILENAMES;
  const found = await requestAdapter(await createDawn(), { software, required: Boolean(named) });
  if (found) return found;
  env.VK_ICD_FILENAMES = ['nvidia-glx.json', 'nvidia-egl.json'].map((file) => beside(`lib/${file}`)).join(':');
  return (await requestAdapter(await createDawn(), { software, required: true }))!;
}

function beside(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** Limits are properties of the prototype. */
function numbersOf(limits: GPUSupportedLimits): Record<string, number> {
  const entries: [string, number][] = [];
  for (const name in limits) {
    const value = limits[name as keyof GPUSupportedLimits];
    if (typeof value === 'number') entries.push([name, value]);
  }
  return Object.fromEntries(entries);
}

async function parity(device: Device, folder: string): Promise<Parity> {
  const cases: CaseReport[] = [];
  try {
    const golden = await openGolden((name) => readFile(join(folder, name)));
    for await (const report of runCases(golden, device)) {
      const { kind, name, passed, worst, error, seconds } = report;
      say(
        `${passed ? 'ok  ' : 'FAIL'} ${kind} ${name}: ${error ?? `error / tolerance ${worst!.toFixed(3)}`}, ${seconds} s`,
      );
      cases.push(report);
    }
  } finally {
    await device.close();
  }
  const failures = cases.filter(({ passed }) => !passed);
  const compared = cases.filter(({ worst }) => worst !== null);
  const worst = compared.length ? compared.reduce((a, b) => (b.worst! > a.worst! ? b : a)) : null;
  return {
    device: device.name,
    passed: cases.length - failures.length,
    failed: failures.length,
    worst,
    failures,
    cases,
  };
}

async function benches({ software }: Options, f16: boolean): Promise<Benches> {
  // No PyTorch beside it: the folder is that of the bundle.
  const options = { device: software ? 'wasm' : 'webgpu', quick: software, say, peer: import.meta.dirname } as const;
  const onKernels = f16 && !software ? ({ ...options, device: 'webgpu-f16' } as const) : options;
  const reports: Report[] = [];
  const notes = software ? ['a software adapter is not timed: these are small sizes on the CPU'] : [];
  const measures = { kernels: () => benchKernels(onKernels), model: () => benchModel(options) };
  for (const [name, measure] of Object.entries(measures)) {
    try {
      reports.push(await measure());
    } catch (error) {
      // Rather a report without these figures than none.
      process.exitCode = 1;
      notes.push(`the ${name} benchmark failed: ${messageOf(error)}`);
    }
  }
  return {
    bench: reports.flatMap(({ results }) => results),
    notes: [...notes, ...reports.flatMap((report) => report.notes)],
  };
}

async function selfTest(options: Options) {
  const about = { version: VERSION, date: new Date().toISOString(), machine: machine() };
  const { software, golden: folder } = options;
  const found = await describeAdapter(software);
  say(`golden cases of ${folder} on ${found.adapter.name}`);
  const golden = await parity((await openWebGpu({ software, required: true }))!, folder);
  say('golden cases on the CPU');
  const goldenOnCpu = await parity(await openWasm({ native: false }), folder);
  if (golden.failed + goldenOnCpu.failed > 0) process.exitCode = 1;
  return {
    ...about,
    ...found,
    golden,
    goldenOnCpu,
    ...(await benches(options, found.features.includes('shader-f16'))),
  };
}

function readOptions(): Options {
  try {
    const { values } = parseArgs({
      options: { golden: { type: 'string' }, 'allow-software': { type: 'boolean', default: false } },
    });
    return { golden: resolve(values.golden ?? beside('golden')), software: values['allow-software'] };
  } catch (error) {
    say(`${messageOf(error)}\n${USAGE}`);
    process.exit(2);
  }
}

try {
  process.stdout.write(`${JSON.stringify(await selfTest(readOptions()), null, 2)}\n`);
} catch (error) {
  process.stdout.write(`${JSON.stringify({ machine: machine(), error: messageOf(error) }, null, 2)}\n`);
  process.exitCode = 1;
}
