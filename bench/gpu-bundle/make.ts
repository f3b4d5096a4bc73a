/**
 * Makes `dist/lamina-gpu.tar.gz`: Node, Dawn's binding, kernels, golden cases and benchmarks for x86-64 Linux, in one file
 * that needs nothing but a Vulkan driver: `tar xf lamina-gpu.tar.gz && sh lamina-gpu/run.sh`.
 */
import { spawn } from 'node:child_process';
import { createWriteStream, existsSync } from 'node:fs';
import { copyFile, cp, mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { createGzip } from 'node:zlib';
import { build } from 'vite';
import { built } from '../../src/built.ts';
import { UserError } from '../../src/errors.ts';
import { moduleFile } from '../../src/kernels/wasm/fused.ts';
import { unpackSwiftShader } from '../../test/kernels/webgpu/swiftshader.ts';
import { copyGoldenPart } from './golden-part.ts';

const MOST_BYTES = 60e6;
/** Of a golden case that comes along; the machine may be given the whole folder besides. */
const MOST_CASE_BYTES = 400_000;

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const FOLDER = at('../../dist/lamina-gpu');
const FILE = `${FOLDER}.tar.gz`;

async function main(): Promise<void> {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new UserError(
      'not-linux',
      'The bundle holds the running Node, and is for x86-64 Linux.',
      'Make it on such a machine.',
    );
  }
  const golden = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
  if (!existsSync(join(golden, 'manifest.json'))) {
    throw new UserError('no-golden', `There are no golden cases in ${golden}.`, 'Set LAMINA_GOLDEN to their folder.');
  }
  await build({ configFile: at('./vite.config.ts'), logLevel: 'warn' });
  await copyProgram();
  const cases = await copyGoldenPart(golden, join(FOLDER, 'golden'), MOST_CASE_BYTES);
  await pack();
  const { size } = await stat(FILE);
  console.log(`${FILE}: ${(size / 1e6).toFixed(1)} MB, ${cases} golden cases`);
  if (size > MOST_BYTES) {
    throw new UserError('too-large', `The bundle may have ${MOST_BYTES / 1e6} MB.`, 'Lower MOST_CASE_BYTES.');
  }
}

/** Everything beside the bundled scripts. */
async function copyProgram(): Promise<void> {
  const [dawn, lib] = [join(FOLDER, 'node_modules/webgpu'), join(FOLDER, 'lib')];
  await mkdir(join(dawn, 'dist/linux-x64'), { recursive: true });
  await mkdir(lib);
  const source = dirname(fileURLToPath(import.meta.resolve('webgpu')));
  for (const name of ['package.json', 'index.js', 'dist/linux-x64/dawn.node']) {
    await copyFile(join(source, name), join(dawn, name));
  }
  await copyFile(process.execPath, join(FOLDER, 'node'));
  await copyFile(at('./run.sh'), join(FOLDER, 'run.sh'));
  for (const name of Object.values(moduleFile)) {
    await copyFile(built(`../../src/kernels/wasm/${name}`, import.meta.url), join(FOLDER, name));
  }
  await cp(at('../../src/kernels/webgpu/wgsl'), join(FOLDER, 'wgsl'), { recursive: true });
  await copyFile(join(unpackSwiftShader(), 'libvulkan.so.1'), join(lib, 'libvulkan.so.1'));
  await writeFile(join(lib, 'nvidia-glx.json'), driverFile('libGLX_nvidia.so.0'));
  await writeFile(join(lib, 'nvidia-egl.json'), driverFile('libEGL_nvidia.so.0'));
  await writeFile(join(FOLDER, 'package.json'), '{ "type": "module" }');
}

/** What names a driver's library to the Vulkan loader. */
function driverFile(library: string): string {
  return JSON.stringify({ file_format_version: '1.0.0', ICD: { library_path: library, api_version: '1.3.0' } });
}

/** gzip and not xz, which small machines lack. */
async function pack(): Promise<void> {
  const args = ['-C', dirname(FOLDER), '--owner=0', '--group=0', '--sort=name', '-cf', '-', 'lamina-gpu'];
  const tar = spawn('tar', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((done) => tar.once('close', done));
  const partial = `${FILE}.partial`;
  await pipeline(tar.stdout, createGzip({ level: 9 }), createWriteStream(partial));
  const code = await ended;
  if (code !== 0) throw new Error(`tar ended with ${code}`);
  await rename(partial, FILE);
}

await main();
