/**
 * `lamina bench tiling`: tiles, patches, scales, memory and times of slides, beside openslide-python and libjpeg-turbo itself.
 *
 * The slides are written for it (`big-slide.ts`) out of a real one where that is at hand. Peers are programs of a folder
 * (`openslide_tiles.py`, `turbojpeg_limit.c`); what is missing is said, and its rows have no baseline.
 */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { built } from '../built.ts';
import { createRandom } from '../random.ts';
import { openSlide } from '../tiling/open-slide.ts';
import type { RgbImage } from '../tiling/slide.ts';
import { tileSide, writeBigSlide } from './big-slide.ts';
import { WrongResult } from './check.ts';
import { lastJson } from './child.ts';
import { type Limit, type Report, type Result, resultOf, type Unit, withoutMarks } from './result.ts';
import type { TilingAnswer } from './tiling-child.ts';
import type { Figures, TilingJob } from './tiling-job.ts';

export interface TilingOptions {
  /** Folder of the peer's programs. */
  readonly peer: string;
  /** Folder of the real slides. */
  readonly data?: string | undefined;
  /** Small slides: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly say?: (what: string) => void;
  readonly signal?: AbortSignal;
}

/** An interpreter that sees openslide-python; `PYTHON` names another. */
const PYTHON = process.env.PYTHON ?? '/usr/bin/python3';

const SIZES = {
  full: { picture: 2048, tiles: [22_016, 20_480], mask: [50_000, 40_000], memory: [100_000, 80_000], rounds: 3 },
  quick: { picture: 2048, tiles: [4096, 4096], mask: [6000, 5000], memory: [8000, 6000], rounds: 1 },
} as const;

const MPP = 0.499;

export async function benchTiling(options: TilingOptions): Promise<Report> {
  const { peer, data = '../shared/data', quick = false, say = () => {}, signal } = options;
  const sizes = quick ? SIZES.quick : SIZES.full;
  const scratch = await mkdtemp(join(tmpdir(), 'lamina-bench-'));
  try {
    say('slides');
    const real = join(data, 'slides', 'CMU-1-Small-Region.svs');
    const notes: string[] = [];
    if (!existsSync(real)) notes.push(`no ${real}: the slides are made of noise, of which tiles are larger`);
    const picture = existsSync(real) ? await regionOf(real, sizes.picture) : noise(sizes.picture);
    const path = (name: string) => join(scratch, `${name}.tif`);
    const write = (name: string, [width, height]: readonly [number, number], downsamples: number[], copies: boolean) =>
      writeBigSlide(path(name), picture, { width, height, downsamples, copies, mpp: MPP });
    await write('tiles', sizes.tiles, [1, 4], true);
    await write('flat', sizes.tiles, [1], false);
    await write('mask', sizes.mask, [1, 4], false);
    await write('flat-mask', sizes.mask, [1], false);
    await write('memory', sizes.memory, [1, 4], false);

    const measure = async (kind: TilingJob['kind'], slide: string, threads: number): Promise<Figures> => {
      const job: TilingJob = { kind, slide, threads };
      const script = fileURLToPath(built('./tiling-child.js', import.meta.url));
      const answer = await lastJson<TilingAnswer>(process.execPath, [script, JSON.stringify(job)], { signal });
      if ('wrong' in answer) throw new WrongResult(answer.wrong);
      return answer.figures;
    };
    const found = await findPeers(peer, scratch, signal);
    notes.push(...found.notes);
    const peers = found.peers;

    say('checks');
    await measure('reduce', path('tiles'), 1);
    if (peers.region) {
      const [ours, theirs] = [(await measure('region', path('tiles'), 1)).sum, await peers.region(path('tiles'))];
      if (ours !== theirs) throw new WrongResult(`a region sums up to ${ours}, OpenSlide's to ${theirs}`);
    }

    const results: Result[] = [];
    /** Ours and theirs in turn, the best of each. */
    const compare = async (
      name: string,
      unit: Unit,
      ours: () => Promise<number>,
      theirs: (() => Promise<number>) | null | undefined,
      mark: Limit | null,
    ) => {
      const rates = { ours: [] as number[], theirs: [] as number[] };
      for (let round = 0; round < sizes.rounds; round++) {
        say(`${name}, round ${round + 1} of ${sizes.rounds}`);
        if (theirs) rates.theirs.push(await theirs());
        rates.ours.push(await ours());
      }
      const baseline = theirs ? Math.max(...rates.theirs) : null;
      const value = Math.max(...rates.ours);
      const middle = rates.ours.toSorted((a, b) => b - a)[rates.ours.length >> 1]!;
      results.push(
        resultOf(name, value, unit, { baseline, spread: value / middle - 1, mark: baseline === null ? null : mark }),
      );
    };
    const tiles = (slide: string, threads: number) => async () =>
      (await measure('tiles', slide, threads)).tilesPerSecond!;
    const { openslideTiles, openslidePatches, limit } = peers;
    const slide = path('tiles');
    const openslide = openslideTiles && (() => openslideTiles(slide));
    await compare('level-0 tiles, 1 thread, against openslide-python', 'tiles/s', tiles(slide, 1), openslide, {
      least: 2,
    });
    await compare(
      'level-0 tiles, 2 threads, against openslide-python in one process',
      'tiles/s',
      tiles(slide, 2),
      openslide,
      {
        least: 3.8,
      },
    );
    await compare(
      'level-0 tiles, 2 threads, share of libjpeg-turbo in C',
      'tiles/s',
      tiles(slide, 2),
      limit && (() => limit(slide)),
      {
        least: 0.27,
      },
    );
    await compare(
      'tissue patches to normalised batches, 2 threads, against OpenSlide, PIL and PyTorch in 2 processes',
      'tiles/s',
      async () => (await measure('patches', slide, 2)).patchesPerSecond!,
      openslidePatches && (() => openslidePatches(slide)),
      { least: 2.5 },
    );
    const wavelets = join(data, 'slides', 'tcga-cr-7395-01a-01-ts1.svs');
    if (existsSync(wavelets)) {
      const theirs = openslideTiles && (() => openslideTiles(wavelets));
      const perTile = (threads: number) => async () =>
        ((await measure('tiles', wavelets, threads)).megapixelsPerSecond! * 1e6) / tileSide ** 2;
      await compare('JPEG 2000 tiles, 1 thread, against openslide-python', 'tiles/s', perTile(1), theirs, {
        least: 1.1,
      });
      await compare(
        'JPEG 2000 tiles, 2 threads, against openslide-python in one process',
        'tiles/s',
        perTile(2),
        theirs,
        {
          least: 2,
        },
      );
    } else notes.push(`no ${wavelets}: JPEG 2000 is not measured`);

    say('a quarter');
    const once = await measure('reduce', path('flat'), 1);
    const wholes = [
      ['libjpeg-turbo (wasm)', once.libjpegTurbo!, { least: 3 }],
      ['our decoder', once.whole!, { least: 3 }],
    ] as const;
    for (const [by, baseline, mark] of wholes) {
      const name = `tiles at 1/4, 1 thread, against whole ones by ${by} and averaging`;
      results.push(resultOf(name, once.quarter!, 'tiles/s', { baseline, mark }));
    }
    results.push(
      resultOf('tiles at 1/4, mean difference from averaging (grey levels)', once.meanDifference!, 'x', {
        mark: { most: 1 },
      }),
    );
    await compare(
      'patches at 1/4 of a slide with level 0 alone, 2 threads, as level-0 tiles, against reading those whole',
      'tiles/s',
      async () => (await measure('quarter', path('flat'), 2)).tilesPerSecond!,
      tiles(path('flat'), 2),
      null,
    );

    const threads = availableParallelism();
    const size = ([width, height]: readonly [number, number]) =>
      `${width.toLocaleString('en')} x ${height.toLocaleString('en')}`;
    say('opening');
    const opened = await measure('open', path('mask'), threads);
    results.push(
      resultOf(`open and hash, ${size(sizes.mask)}, first slide of a process`, opened.first!, 'ms', {
        mark: { most: 50 },
      }),
      resultOf(`open and hash, ${size(sizes.mask)}, best of ten`, opened.best!, 'ms', { mark: { most: 50 } }),
    );
    for (const [name, what] of [
      ['mask', 'with a level at 1/4'],
      ['flat-mask', 'with level 0 alone'],
    ] as const) {
      say(`mask and grid ${what}`);
      const times = [];
      for (let round = 0; round < sizes.rounds; round++)
        times.push((await measure('mask', path(name), threads)).seconds!);
      results.push(
        resultOf(`mask and grid, ${size(sizes.mask)} ${what}`, Math.min(...times), 's', { mark: { most: 3 } }),
      );
    }
    say('memory');
    const peak = await measure('memory', path('memory'), threads);
    results.push(
      resultOf(`peak memory, all ${peak.patches} tissue patches of ${size(sizes.memory)}`, peak.peakMegabytes!, 'MB', {
        mark: { most: 600 },
      }),
      resultOf('their stream', peak.seconds!, 's'),
    );
    return { device: 'decoder threads', notes, results: quick ? withoutMarks(results) : results };
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function regionOf(path: string, side: number): Promise<RgbImage> {
  const slide = await openSlide(path);
  const { data } = await slide.readRegion(100, 400, 0, side, side);
  await slide.close();
  const rgb = new Uint8Array(side * side * 3);
  for (let from = 0, to = 0; from < data.length; from += 4, to += 3) rgb.set(data.subarray(from, from + 3), to);
  return { width: side, height: side, data: rgb };
}

/** Blots of pink on white, with some grain. */
function noise(side: number): RgbImage {
  const random = createRandom(1);
  const data = new Uint8Array(side * side * 3);
  for (let y = 0, at = 0; y < side; y++) {
    for (let x = 0; x < side; x++, at += 3) {
      const tissue = Math.max(0, Math.sin(x / 97) + Math.cos(y / 131)) * (0.7 + 0.3 * random());
      data[at] = 240 - 50 * tissue;
      data[at + 1] = 240 - 110 * tissue;
      data[at + 2] = 240 - 60 * tissue;
    }
  }
  return { width: side, height: side, data };
}

interface Peers {
  /** Tiles of 256 px a second in one process. */
  readonly openslideTiles?: (slide: string) => Promise<number>;
  /** Patches a second in two. */
  readonly openslidePatches?: (slide: string) => Promise<number>;
  /** Tiles a second of libjpeg-turbo on two processes. */
  readonly limit?: (slide: string) => Promise<number>;
  /** See `region` of tiling-job.ts. */
  readonly region?: (slide: string) => Promise<number>;
}

interface TilesLine {
  readonly tiles_per_s: number;
}

const regionProgram = `
import json, sys, numpy, openslide
rgb = numpy.asarray(openslide.OpenSlide(sys.argv[1]).read_region((300, 300), 0, (512, 512)).convert("RGB")).ravel().astype("int64")
print(json.dumps(int((rgb * (numpy.arange(1, rgb.size + 1) % 1009)).sum())))
`;

async function findPeers(
  folder: string,
  scratch: string,
  signal?: AbortSignal,
): Promise<{ peers: Peers; notes: string[] }> {
  const notes: string[] = [];
  let peers: Peers = {};
  const program = join(folder, 'openslide_tiles.py');
  const python = (...args: string[]) =>
    lastJson<TilesLine>(PYTHON, [program, ...args], { env: { PYTHONDONTWRITEBYTECODE: '1' }, signal });
  const has = async (modules: string) => {
    try {
      await lastJson(PYTHON, ['-c', `import ${modules}; print(1)`], { signal });
      return true;
    } catch {
      signal?.throwIfAborted();
      return false;
    }
  };
  if (!existsSync(program)) notes.push(`no ${program}: nothing of OpenSlide to compare with`);
  else if (!(await has('openslide, numpy, PIL'))) {
    notes.push(
      `${PYTHON} has no openslide-python (apt-get install python3-openslide python3-pil python3-numpy, or set PYTHON): nothing to compare with`,
    );
  } else {
    peers = {
      openslideTiles: async (slide) => (await python(slide, '--mode', 'tiles')).tiles_per_s,
      region: (slide) => lastJson<number>(PYTHON, ['-c', regionProgram, slide], { signal }),
    };
    if (await has('torch')) {
      const patches = async (slide: string) => (await python(slide, '--mode', 'patches', '--procs', '2')).tiles_per_s;
      peers = { ...peers, openslidePatches: patches };
    } else notes.push(`${PYTHON} has no PyTorch (apt-get install python3-torch): patches are not compared`);
  }
  const source = join(folder, 'turbojpeg_limit.c');
  const binary = join(scratch, 'turbojpeg_limit');
  try {
    if (!existsSync(source)) throw new Error(`no ${source}`);
    await lastJson('sh', ['-c', 'cc -O3 -o "$1" "$2" -lturbojpeg && echo 1', 'sh', binary, source], { signal });
    peers = {
      ...peers,
      limit: async (slide) => (await lastJson<TilesLine>(binary, [slide, '2'], { signal })).tiles_per_s,
    };
  } catch (error) {
    signal?.throwIfAborted();
    notes.push(
      `libjpeg-turbo in C is not compared (apt-get install gcc libc6-dev libturbojpeg0-dev): ${(error as Error).message.split('\n')[0]}`,
    );
  }
  return { peers, notes };
}
