/** A Chromium for the tests: the system's, or the one inside the npm package `@sparticuz/chromium`, unpacked once. */
import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { access, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { type Browser, chromium } from 'playwright-core';

const unpack = promisify(brotliDecompress);
const CACHE = 'node_modules/.cache/lamina-chromium';
const NAMES = ['chromium', 'chromium-browser', 'google-chrome'];

/** Path of a Chromium, null when this machine has none and the package is not installed. */
export async function findChromium(): Promise<string | null> {
  const folders = (process.env.PATH ?? '').split(delimiter);
  for (const path of folders.flatMap((folder) => NAMES.map((name) => join(folder, name)))) {
    if (await isExecutable(path)) return path;
  }
  const packed = packedFolder();
  return packed && process.platform === 'linux' && process.arch === 'x64' ? await unpacked(packed) : null;
}

/** Starts it without a window, with a software renderer so that it is the same everywhere. */
export async function openBrowser(executablePath: string, more: readonly string[] = []): Promise<Browser> {
  return await chromium.launch({
    executablePath,
    env: { ...process.env, LD_LIBRARY_PATH: await libraryPath(executablePath) },
    args: [
      '--no-sandbox',
      '--use-angle=swiftshader',
      '--enable-unsafe-swiftshader',
      '--font-render-hinting=none',
      ...more,
    ],
  });
}

function packedFolder(): string | null {
  try {
    return join(dirname(createRequire(import.meta.url).resolve('@sparticuz/chromium')), '../../bin');
  } catch {
    return null;
  }
}

async function unpacked(packed: string): Promise<string> {
  const path = join(CACHE, 'chromium');
  if (await isExecutable(path)) return path;
  await mkdir(CACHE, { recursive: true });
  execFileSync('tar', ['-xf', '-', '-C', CACHE], {
    input: await unpack(await readFile(join(packed, 'swiftshader.tar.br'))),
  });
  execFileSync('tar', ['-xf', '-', '-C', CACHE], {
    input: await unpack(await readFile(join(packed, 'al2023.tar.br'))),
  });
  const temporary = `${path}.${process.pid}.partial`;
  await writeFile(temporary, await unpack(await readFile(join(packed, 'chromium.br'))), { mode: 0o755 });
  await rename(temporary, path);
  return path;
}

/** The package's own libraries help only where the system lacks them. */
async function libraryPath(executable: string): Promise<string> {
  const given = process.env.LD_LIBRARY_PATH ?? '';
  const lacks = execFileSync('ldd', [executable], { encoding: 'utf8' }).includes('not found');
  return lacks ? [join(CACHE, 'lib'), given].join(delimiter) : given;
}

async function isExecutable(path: string): Promise<boolean> {
  return access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
