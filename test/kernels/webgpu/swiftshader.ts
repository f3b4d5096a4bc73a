/**
 * A software Vulkan driver out of npm packages, so that WGSL runs in tests on a machine without a GPU.
 *
 * SwiftShader lies as an archive in `@sparticuz/chromium` (x86-64 Linux). It is unpacked once into a cache folder; its
 * Vulkan loader has to be in the process before Dawn's binding looks for one.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliDecompressSync } from 'node:zlib';
import koffi from 'koffi';
import type { WebGpuDevice } from '../../../src/kernels/webgpu/device.ts';
import { type OpenOptions, openWebGpu } from '../../../src/kernels/webgpu/open-node.ts';

/** Why WGSL cannot run in tests here, or null. Put it into the name of what is skipped. */
export const withoutSwiftShader =
  process.platform === 'linux' && process.arch === 'x64' ? null : 'SwiftShader comes for x86-64 Linux only';

/**
 * A WebGPU device on SwiftShader; subgroups of 4, 12 storage buffers, 32 KiB of workgroup memory unless restricted.
 * It compiles a shader anew for each subgroup of a workgroup, hence the small workgroups of the scan.
 */
export async function openSwiftShader(restrict: OpenOptions['restrict'] = {}): Promise<WebGpuDevice> {
  loadSwiftShader();
  const device = await openWebGpu({ software: true, required: true, restrict: { scanThreads: 32, ...restrict } });
  if (!/swiftshader/i.test(device!.name)) throw new Error(`expected SwiftShader, got ${device!.name}`);
  return device!;
}

/** Held, because koffi unloads a library that nobody refers to. */
const loaded: unknown[] = [];

export function loadSwiftShader(): void {
  const folder = unpackSwiftShader();
  process.env.VK_DRIVER_FILES = join(folder, 'vk_swiftshader_icd.json');
  if (!loaded.length) loaded.push(koffi.load(join(folder, 'libvulkan.so.1')));
}

/** The folder of driver, description and loader. */
export function unpackSwiftShader(): string {
  const modules = fileURLToPath(new URL('../../../node_modules/', import.meta.url));
  const source = join(modules, '@sparticuz', 'chromium');
  const { version } = JSON.parse(readFileSync(join(source, 'package.json'), 'utf8')) as { version: string };
  const folder = join(modules, '.cache', 'lamina', `swiftshader-${version}`);
  if (existsSync(folder)) return folder;
  const partial = `${folder}.${process.pid}`;
  mkdirSync(partial, { recursive: true });
  for (const [name, data] of untar(brotliDecompressSync(readFileSync(join(source, 'bin', 'swiftshader.tar.br'))))) {
    writeFileSync(join(partial, basename(name)), data);
  }
  // Test files run side by side: the first to finish wins.
  try {
    renameSync(partial, folder);
  } catch {
    rmSync(partial, { recursive: true });
  }
  return folder;
}

/** Regular files of a tar archive. */
function* untar(tar: Buffer): Iterable<[string, Buffer]> {
  for (let at = 0; at + 512 <= tar.length; ) {
    const field = (from: number, to: number) =>
      tar
        .toString('latin1', at + from, at + to)
        .replace(/\0.*$/s, '')
        .trim();
    const name = field(0, 100);
    if (!name) return;
    const size = Number.parseInt(field(124, 136) || '0', 8);
    if ('0'.includes(field(156, 157))) yield [name, tar.subarray(at + 512, at + 512 + size)];
    at += 512 + Math.ceil(size / 512) * 512;
  }
}
