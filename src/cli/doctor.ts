/** `lamina doctor`: what this machine has, what is missing, and how to get it. */
import { existsSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { arch, availableParallelism, freemem, platform, totalmem } from 'node:os';
import type { Command } from 'commander';
import { messageOf } from '../errors.ts';
import { allowFused } from '../kernels/wasm/open-node.ts';
import { listAdapters } from '../kernels/webgpu/adapters.ts';
import { isOpenSlideInstalled } from '../tiling/openslide.ts';
import { VERSION } from '../version.ts';
import { FAILED } from './exit.ts';
import { bold, dim, printJson, printLine } from './print.ts';

/** `missing` is required and fails the check-up; `absent` is optional. */
type Verdict = 'ok' | 'missing' | 'absent';

interface Check {
  readonly name: string;
  readonly verdict: Verdict;
  readonly found: string;
  /** How to get it; null when there is nothing to do. */
  readonly advice: string | null;
}

/** Packages with a binary or wasm part, which may be installed and still not load. */
const PARTS = [
  { name: 'JPEG codec', module: '@cornerstonejs/codec-libjpeg-turbo-8bit/decodewasmjs' },
  { name: 'JPEG 2000 codec', module: '@cornerstonejs/codec-openjpeg/decodewasmjs' },
  { name: 'picture files (sharp)', module: 'sharp' },
  { name: 'ONNX Runtime', module: 'onnxruntime-node' },
  { name: 'C libraries (koffi)', module: 'koffi' },
] as const;

const GIB = 2 ** 30;

export function configure(command: Command): void {
  command
    .option('--json', 'print one JSON object')
    .addHelpText('after', '\nExit code 1 if something required is missing.')
    .action(async (options: { json?: boolean }) => {
      const checks = await examine();
      if (options.json) printJson({ version: VERSION, platform: `${platform()} ${arch()}`, checks });
      else printChecks(checks);
      if (checks.some(({ verdict }) => verdict === 'missing')) process.exitCode = FAILED;
    });
}

async function examine(): Promise<Check[]> {
  return [
    nodeVersion(),
    ok('processor cores', `${availableParallelism()}`),
    memory(),
    await disk(),
    ...(await Promise.all(PARTS.map(part))),
    kernels(),
    page(),
    await adapters(),
    openSlideLibrary(),
  ];
}

function nodeVersion(): Check {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('Node', process.versions.node);
  return missing('Node', process.versions.node, 'Install Node 20.19 or later from https://nodejs.org.');
}

function memory(): Check {
  const total = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  const found = `${gib(total)} GiB, ${gib(Math.min(freemem(), total))} GiB free`;
  return total >= 2 * GIB ? ok('memory', found) : absent('memory', found, 'Expect large slides to fail below 2 GiB.');
}

async function disk(): Promise<Check> {
  const { bavail, bsize } = await statfs('.');
  const found = `${gib(bavail * bsize)} GiB free here`;
  return bavail * bsize >= GIB ? ok('disk', found) : absent('disk', found, 'Free some space, or use --out elsewhere.');
}

async function part({ name, module }: { name: string; module: string }): Promise<Check> {
  try {
    await import(module);
    return ok(name, 'loads');
  } catch (error) {
    return missing(name, messageOf(error).split('\n')[0]!, 'Run npm ci in the folder of lamina.');
  }
}

function kernels(): Check {
  const wasm = new URL('../kernels/wasm/lamina.wasm', import.meta.url);
  if (!existsSync(wasm)) return missing('wasm kernels', 'not built', 'Run npm run build in the folder of lamina.');
  const valid = WebAssembly.validate(readFileSync(wasm));
  if (!valid) return missing('wasm kernels', 'refused by Node', 'Update Node.');
  return ok('wasm kernels', allowFused() ? 'SIMD with fused multiply-add, threads' : 'SIMD and threads');
}

function page(): Check {
  const built = existsSync(new URL('../viewer/web/index.html', import.meta.url));
  return built ? ok('viewer page', 'built') : missing('viewer page', 'not built', 'Run npm run build.');
}

async function adapters(): Promise<Check> {
  const name = 'WebGPU';
  const found = await listAdapters();
  const text = found.map(
    (adapter) => `${adapter.name}${adapter.software ? ' (software: used only when asked for)' : ''}`,
  );
  if (found.some(({ software }) => !software)) return ok(name, text.join('; '));
  const advice =
    'Not needed: the wasm kernels do the work. For a GPU install its Vulkan driver (and libvulkan1 on Linux).';
  return absent(name, text.join('; ') || 'no adapter', advice);
}

function openSlideLibrary(): Check {
  const name = 'libopenslide';
  if (isOpenSlideInstalled()) return ok(name, 'found');
  return absent(
    name,
    'not found',
    'Only for MIRAX and other rare formats: apt install libopenslide0, or brew install openslide.',
  );
}

function printChecks(checks: readonly Check[]): void {
  const width = Math.max(...checks.map(({ name }) => name.length));
  printLine(bold(`lamina ${VERSION} on ${platform()} ${arch()}`));
  for (const { name, verdict, found, advice } of checks) {
    printLine(`${verdict.padEnd(7)}  ${name.padEnd(width)}  ${found}`);
    if (advice) printLine(dim(`${' '.repeat(width + 11)}${advice}`));
  }
}

const gib = (bytes: number) => (bytes / GIB).toFixed(1);
const ok = (name: string, found: string): Check => ({ name, verdict: 'ok', found, advice: null });
const missing = (name: string, found: string, advice: string): Check => ({ name, verdict: 'missing', found, advice });
const absent = (name: string, found: string, advice: string): Check => ({ name, verdict: 'absent', found, advice });
