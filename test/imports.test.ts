/** Keeps the table of folders and what they may import (README) true, by reading the import statements. */
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, normalize } from 'node:path';
import { describe, expect, it } from 'vitest';

/** Files or folders (ending in a slash), or a beginning of a name. The first row whose folder holds a file rules it. */
interface Row {
  readonly folder: string;
  /** Beside itself. */
  readonly mayImport: readonly string[];
}

const SHARED = [
  'src/errors.ts',
  'src/random.ts',
  'src/units.ts',
  // Orders of the cells of a grid: the grid lists its patches in one, models scan in another.
  'src/row-order.ts',
  'src/built.ts',
  'src/built-worker.ts',
  'src/version.ts',
  'src/csv.ts',
  'src/listed.ts',
  // Of processes that run slides, or fetch weights, one does it.
  'src/lock.ts',
  'src/slide-name.ts',
  'src/viridis.ts',
];

const FOLDERS: readonly Row[] = [
  { folder: 'src/tiling/', mayImport: SHARED },
  { folder: 'src/features/encoders/', mayImport: [...SHARED, 'src/tiling/', 'src/features/', 'src/kernels/'] },
  // The contract of a device: an encoder may leave its features on one.
  { folder: 'src/features/', mayImport: [...SHARED, 'src/tiling/', 'src/kernels/device.ts'] },
  { folder: 'src/kernels/', mayImport: SHARED },
  {
    folder: 'src/mil/',
    // torch-file: bags and checkpoints are the same zip of a pickle, and one reader of pickles is enough to trust.
    mayImport: [...SHARED, 'src/kernels/', 'src/features/bag', 'src/features/half.ts', 'src/features/torch-file.ts'],
  },
  { folder: 'src/viewer/web/', mayImport: ['src/viewer/api.ts', 'src/kernels/', 'src/viridis.ts'] },
  // Counterfactuals run the model again, as runs do; a slide whose lock somebody holds is being worked on.
  {
    folder: 'src/viewer/',
    mayImport: [
      ...SHARED,
      'src/tiling/',
      'src/features/bag',
      'src/features/similarity.ts',
      'src/features/store.ts',
      'src/kernels/open-device.ts',
      'src/mil/predict.ts',
      'src/mil/result.ts',
      'src/run/predictor.ts',
      'src/run/slide-folder.ts',
    ],
  },
  { folder: 'src/run/', mayImport: [...SHARED, 'src/tiling/', 'src/features/', 'src/kernels/', 'src/mil/'] },
  // Draws what an evaluation found, and writes it as whole files, as runs do.
  { folder: 'src/report/', mayImport: [...SHARED, 'src/mil/', 'src/run/whole-file.ts'] },
  // Training reads tables and bags, knows duplicates by the hash of slides, and writes whole files as runs do.
  {
    folder: 'src/train/',
    mayImport: [
      ...SHARED,
      'src/features/',
      'src/kernels/',
      'src/mil/',
      'src/run/whole-file.ts',
      'src/tiling/slide-hash.ts',
    ],
  },
  // What the measurements of `lamina bench` time, and the bags with known truth that models are compared on.
  {
    folder: 'src/bench/',
    mayImport: [
      ...SHARED,
      'src/tiling/',
      'src/features/',
      'src/kernels/',
      'src/mil/',
      'src/run/',
      'src/train/',
      'datasets/synthetic/bags.ts',
    ],
  },
  { folder: 'src/cli/', mayImport: ['src/', 'datasets/'] },
  // Not tiling: a generator and a reader that share a helper hide each other's faults.
  { folder: 'datasets/', mayImport: SHARED },
  { folder: 'src/', mayImport: SHARED },
];

/** Every package of the program, and the one place that imports it; more than one only where two stages need the same tool. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  '@cornerstonejs/codec-libjpeg-turbo-8bit': ['src/tiling/'],
  '@cornerstonejs/codec-openjpeg': ['src/tiling/'],
  '@hono/node-server': ['src/viewer/server.ts', 'src/viewer/training-page.ts'],
  // Drawings without a browser: Plot on a document of happy-dom.
  '@observablehq/plot': ['src/report/charts.ts'],
  // Bags, and the table of patches that `tile` writes, which is no bag.
  '@libsql/client': ['src/viewer/database.ts'],
  'apache-arrow': ['src/features/store.ts', 'src/features/arrow-file.ts', 'src/run/patch-table.ts'],
  bullmq: ['src/run/queue'],
  commander: ['src/cli/'],
  // Types only.
  geojson: ['src/', 'datasets/'],
  geotiff: ['src/tiling/'],
  h5wasm: ['src/features/hdf5-file.ts'],
  'happy-dom': ['src/report/charts.ts'],
  hono: ['src/viewer/'],
  ioredis: ['src/run/queue'],
  // C libraries found at run time: libopenslide, the matrix products of onnxruntime, a Vulkan loader.
  koffi: ['src/tiling/', 'src/kernels/wasm/', 'src/kernels/webgpu/open-node.ts'],
  // Encoders, the fastest matrix product on a CPU, and what ours is measured against.
  'onnxruntime-node': ['src/features/encoders/', 'src/kernels/wasm/', 'src/bench/onnxruntime-product.ts'],
  // The same on the GPU of the kernels.
  'onnxruntime-web': ['src/features/encoders/'],
  openseadragon: ['src/viewer/web/'],
  // The toolbox for picture files, wherever one is read or written.
  sharp: ['src/tiling/', 'src/viewer/picture.ts', 'src/viewer/iiif.ts', 'src/run/', 'datasets/synthetic/'],
  webgpu: ['src/kernels/webgpu/'],
  yaml: ['src/cli/config-file.ts'],
  zstddec: ['src/tiling/'],
};

interface Import {
  readonly file: string;
  /** A file of the project, the name of a package, or `node:…`. */
  readonly target: string;
}

/** The modules that a source text names, in `import … from`, `export … from`, `import()` and `require()`. */
function specifiers(text: string): string[] {
  const statements = /^\s*(?:import|export)\b(?:[^'";]*?\bfrom)?\s*['"]([^'"]+)['"]/gm;
  const calls = /^(?!\s*(?:\*|\/\/)).*?\b(?:import|require(?:\.resolve)?)\(\s*['"]([^'"]+)['"]/gm;
  return [...text.matchAll(statements), ...text.matchAll(calls)].map((match) => match[1]!);
}

function target(file: string, specifier: string): string {
  if (specifier.startsWith('.')) return normalize(join(file, '..', specifier));
  if (specifier.startsWith('node:')) return specifier;
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function violation({ file, target }: Import): string | null {
  const under = (places: readonly string[]) => places.some((place) => target.startsWith(place));
  if (target.startsWith('node:')) {
    return file.startsWith('src/viewer/web/') ? `${file} runs in the browser and imports ${target}` : null;
  }
  if (builtinModules.includes(target)) return `${file} imports ${target}; write node:${target}`;
  if (!target.startsWith('src/') && !target.startsWith('datasets/')) {
    const places = PACKAGES[target] ?? [];
    return places.some((place) => file.startsWith(place)) ? null : `${file} imports the package ${target}`;
  }
  const row = FOLDERS.find(({ folder }) => file.startsWith(folder))!;
  // A shared file belongs to no folder: the last row is no licence to import all of src.
  const own = row.folder === 'src/' ? [] : [row.folder];
  return under([...own, ...row.mayImport]) ? null : `${file} imports ${target}`;
}

const files = ['src', 'datasets'].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.includes('wasm/assembly/') && !name.endsWith('vite.config.ts'))
    .map((name) => join(folder, name)),
);

const imports: readonly Import[] = files.flatMap((file) =>
  specifiers(readFileSync(file, 'utf8')).map((specifier) => ({ file, target: target(file, specifier) })),
);

describe('the import table', () => {
  it('reads every kind of import', () => {
    const text = [
      "import a from './a.ts';",
      "import type { B } from '../b.ts';",
      "import {\n  c,\n  d,\n} from 'c';",
      "import 'side-effect';",
      "export { e } from './e.ts';",
      "  const f = await import('./f.ts');",
      "const g = require('g');",
      " * import h from 'in-a-comment';",
      "// import('also-in-a-comment')",
      "export const i = 'no import';",
    ].join('\n');
    expect(specifiers(text)).toEqual(['./a.ts', '../b.ts', 'c', 'side-effect', './e.ts', './f.ts', 'g']);
  });

  it('refuses what is not in it', () => {
    const refused = (file: string, specifier: string) => violation({ file, target: target(file, specifier) }) !== null;
    expect(refused('src/tiling/slide.ts', '../features/bag.ts')).toBe(true);
    expect(refused('src/features/store.ts', '../kernels/tape.ts')).toBe(true);
    expect(refused('src/features/encoder.ts', '../kernels/device.ts')).toBe(false);
    expect(refused('src/features/encoders/a.ts', '../../kernels/device.ts')).toBe(false);
    expect(refused('src/viewer/web/main.ts', 'node:fs')).toBe(true);
    expect(refused('src/mil/model.ts', '../cli/lamina.ts')).toBe(true);
    expect(refused('src/errors.ts', './tiling/slide.ts')).toBe(true);
    expect(refused('datasets/synthetic/slide.ts', '../../src/tiling/tiff.ts')).toBe(true);
    expect(refused('src/mil/model.ts', 'geotiff')).toBe(true);
    expect(refused('src/tiling/tiff-file.ts', 'geotiff')).toBe(false);
  });

  it('holds for every file', () => {
    expect(files.length).toBeGreaterThan(20);
    expect(imports.flatMap((one) => violation(one) ?? [])).toEqual([]);
  });

  it('lets nothing of Node into the browser, also not through others', () => {
    const reached = new Set(files.filter((file) => file.startsWith('src/viewer/web/')));
    for (const file of reached) {
      for (const one of imports) if (one.file === file) reached.add(one.target);
    }
    expect([...reached].filter((name) => name.startsWith('node:'))).toEqual([]);
  });
});
