/**
 * `lamina bench viewer`: tiles a second beside the usual OpenSlide back end, many people at once, the first view, what is sent.
 *
 * Slide, client and peer are the programs of a folder (`make_slide.sh`, `tile_load.mjs`, `deepzoom_server.py`): the same client
 * takes the same walk over the same slide on both servers, in turn. What a browser adds is timed by test/viewer/speed.test.ts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { built } from '../built.ts';
import type { SlideResult } from '../mil/result.ts';
import { openSlide } from '../tiling/open-slide.ts';
import type { Slide } from '../tiling/slide.ts';
import { WrongResult } from './check.ts';
import { lastJson, lastJsons } from './child.ts';
import { timeCounterfactual, writeCounterfactualRun } from './counterfactual.ts';
import { type Report, type Result, resultOf, withoutMarks } from './result.ts';
import { timeSimilar, writeCohort } from './similar.ts';
import { bestOf } from './timing.ts';

export interface ViewerOptions {
  /** Folder of the slide's maker, the client and the peer. */
  readonly peer: string;
  /** Few requests and people: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly say?: (what: string) => void;
  readonly signal?: AbortSignal;
}

interface Load {
  readonly errors: number;
  readonly requests: number;
  readonly p50_ms: number;
  readonly p95_ms: number;
  readonly tiles_per_s: number;
}

interface Server {
  readonly process: ChildProcess;
  /** What it printed when it was ready. */
  readonly address: string;
}

/** An interpreter that sees openslide-python; `PYTHON` names another. */
const PYTHON = process.env.PYTHON ?? '/usr/bin/python3';
/** The mark is for the first; the other is as fast as its model. */
const SHAPES = (patches: number) => [
  { patches, width: 128, layers: 1 },
  { patches, width: 512, layers: 2 },
];
const SIZES = {
  full: {
    slidePx: 22_000,
    requests: 2000,
    rounds: 3,
    people: 200,
    seconds: 60,
    counterfactuals: SHAPES(20_000),
    cohort: { slides: 100, patches: 10_000, features: 1024 },
  },
  quick: {
    slidePx: 4000,
    requests: 100,
    rounds: 1,
    people: 5,
    seconds: 2,
    counterfactuals: SHAPES(3000).slice(0, 1),
    cohort: { slides: 5, patches: 1000, features: 64 },
  },
};

export async function benchViewer({ peer, quick = false, say = () => {}, signal }: ViewerOptions): Promise<Report> {
  const sizes = quick ? SIZES.quick : SIZES.full;
  const scratch = await mkdtemp(join(tmpdir(), 'lamina-bench-'));
  const servers: Server[] = [];
  try {
    const results: Result[] = [await pageSize()];
    const notes: string[] = [];
    const missing = ['make_slide.sh', 'tile_load.mjs', 'deepzoom_server.py'].filter(
      (file) => !existsSync(join(peer, file)),
    );
    if (missing.length > 0) {
      notes.push(`no ${missing.join(', ')} in ${peer}: only the page is measured`);
      return { device: 'viewer', notes, results: quick ? withoutMarks(results) : results };
    }
    say('slide');
    const slide = join(scratch, 'slide.tif');
    // Levels of exactly half the size: the peer's best case.
    await run('sh', [join(peer, 'make_slide.sh'), `${sizes.slidePx}`, slide], { CROP: '2208x2944' }, signal);
    const runFolder = join(scratch, 'run');
    const { width, height } = await writeRun(runFolder, slide);

    const ours = () => start(process.execPath, [cli(), 'view', runFolder, '--port', '0'], servers, signal);
    const theirs = () =>
      start(
        PYTHON,
        [join(peer, 'deepzoom_server.py'), slide, '0', '--tile-size', '256', '--overlap', '0'],
        servers,
        signal,
      );
    /** The walk twice: the first meets a fresh server. */
    const walks = async (urls: string[], connections: number) => {
      const args = [...urls, '--requests', `${sizes.requests}`, '--concurrency', `${connections}`, '--passes', '2'];
      const loads = await lastJsons<Load>(process.execPath, [join(peer, 'tile_load.mjs'), ...args], 2, { signal });
      loads.forEach(requireNoErrors);
      return loads as [Load, Load];
    };
    const ourUrls = (address: string) => {
      const base = `${address}api/slides/bench/deep-zoom`;
      return ['--url', `${base}_files/{level}/{x}_{y}.jpeg`, '--dzi', `${base}.dzi`];
    };
    const theirUrls = (address: string) => [
      '--url',
      address.replace('.dzi', '_files/{level}/{x}_{y}.jpeg'),
      '--dzi',
      address,
    ];

    await checkTiles(ours, slide, servers);
    const cold = { ours: [] as Load[], theirs: [] as Load[] };
    const warm = { ours: [] as Load[], theirs: [] as Load[] };
    for (let round = 0; round < sizes.rounds; round++) {
      say(`6 connections, round ${round + 1} of ${sizes.rounds}`);
      for (const [name, open, urls] of [
        ['theirs', theirs, theirUrls],
        ['ours', ours, ourUrls],
      ] as const) {
        const server = await open().catch((error) => {
          if (name === 'ours') throw error;
          notes.push(`no peer server (${(error as Error).message.split('\n')[0]}): nothing to compare with`);
          return null;
        });
        if (!server) continue;
        const [first, second] = await walks(urls(server.address), 6);
        cold[name].push(first);
        warm[name].push(second);
        server.process.kill();
      }
    }
    results.push(...compared('fresh server', cold, null), ...compared('warm', warm, { least: 4 }));

    const server = await ours();
    say('8 connections');
    const [, eight] = await walks(ourUrls(server.address), 8);
    results.push(resultOf('warm tile, 8 connections, p95', eight.p95_ms, 'ms', { mark: { most: 50 } }));

    say('first view');
    results.push(await firstView(ours, { width, height }));

    say(`${sizes.people} people for ${sizes.seconds} s`);
    const tiles = `${server.address}api/slides/bench/tiles/{level}/{x}_{y}.jpg`;
    const crowd = await lastJson<Load>(
      process.execPath,
      [
        fileURLToPath(built('./pan-child.js', import.meta.url)),
        tiles,
        `${width}`,
        `${height}`,
        `${sizes.people}`,
        `${sizes.seconds}`,
      ],
      { signal },
    );
    requireNoErrors(crowd);
    for (const shape of sizes.counterfactuals) {
      const { patches, width, layers } = shape;
      say(`what if, ${patches} patches, d=${width}, layers ${layers}`);
      const folder = join(scratch, `what-if-${width}`);
      const record = JSON.parse(await readFile(join(runFolder, 'slides/bench/slide.json'), 'utf8'));
      await writeCounterfactualRun(folder, record, shape);
      const args = [cli(), 'view', join(folder, 'run'), '--port', '0', '--device', 'wasm'];
      const asked = await start(process.execPath, args, servers, signal);
      const { best, spread } = bestOf(await timeCounterfactual(asked.address, patches, sizes.rounds + 2));
      asked.process.kill();
      const mark = width === 128 ? { most: 300 } : null;
      results.push(resultOf(`what if, ${patches} patches, d=${width}, layers ${layers}`, best, 'ms', { spread, mark }));
    }
    const { slides, patches, features } = sizes.cohort;
    const cohort = `${slides} slides of ${patches} patches, ${features} features`;
    say(`similar patches, ${cohort}`);
    const folder = join(scratch, 'similar');
    await writeCohort(
      folder,
      JSON.parse(await readFile(join(runFolder, 'slides/bench/slide.json'), 'utf8')),
      sizes.cohort,
    );
    const searched = await start(
      process.execPath,
      [cli(), 'view', join(folder, 'run'), '--port', '0'],
      servers,
      signal,
    );
    const { best, spread } = bestOf(await timeSimilar(searched.address, sizes.cohort, sizes.rounds));
    results.push(
      resultOf(`similar patches, ${cohort}`, best, 'ms', { spread }),
      resultOf(`similar patches, ${cohort}, peak memory`, await peakMegabytes(searched.process.pid!), 'MB'),
    );
    searched.process.kill();
    const name = `${sizes.people} people panning for ${sizes.seconds} s`;
    results.push(
      resultOf(`${name}, tile p95`, crowd.p95_ms, 'ms', { mark: { most: 500 } }),
      resultOf(`${name}, peak memory`, await peakMegabytes(server.process.pid!), 'MB', { mark: { most: 500 } }),
    );
    return { device: 'viewer', notes: [...new Set(notes)], results: quick ? withoutMarks(results) : results };
  } finally {
    for (const { process } of servers) process.kill('SIGKILL');
    await rm(scratch, { recursive: true, force: true });
  }
}

function compared(
  which: string,
  { ours, theirs }: { ours: readonly Load[]; theirs: readonly Load[] },
  mark: { least: number } | null,
): Result[] {
  const best = (loads: readonly Load[]) => loads.toSorted((a, b) => b.tiles_per_s - a.tiles_per_s)[0];
  const [our, their] = [best(ours)!, best(theirs)];
  return [
    resultOf(`tiles a second, 6 connections, ${which}`, our.tiles_per_s, 'tiles/s', {
      baseline: their?.tiles_per_s ?? null,
      mark: their && mark,
    }),
    resultOf(`tile p95, 6 connections, ${which}`, our.p95_ms, 'ms', {
      baseline: their?.p95_ms ?? null,
      mark: their && mark && { least: 3 },
    }),
  ];
}

/** The script of the page as it is sent. */
async function pageSize(): Promise<Result> {
  const folder = fileURLToPath(built('../viewer/web/assets/', import.meta.url));
  let bytes = 0;
  for (const name of await readdir(folder)) {
    if (name.endsWith('.js')) bytes += gzipSync(await readFile(join(folder, name))).length;
  }
  return resultOf('script of the page, gzip', bytes / 1000, 'kB', { mark: { most: 350 } });
}

/** From nothing open to the last byte of the first screen: page, script, list, slide, and the tiles of the whole slide. */
async function firstView(open: () => Promise<Server>, slide: { width: number; height: number }): Promise<Result> {
  const server = await open();
  const get = async (path: string) => {
    const response = await fetch(new URL(path, server.address));
    if (!response.ok) throw new WrongResult(`${path} is answered with ${response.status}`);
    return response;
  };
  const start = performance.now();
  const page = await (await get('')).text();
  const files = [...page.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map((match) => match[1]!);
  await Promise.all([...files, 'api/run', 'api/slides'].map(async (path) => (await get(path)).arrayBuffer()));
  const view = (await (await get('api/slides/bench')).json()) as {
    picture: { levels: { width: number; height: number; tileWidth: number }[] };
  };
  const { levels } = view.picture;
  // The smallest level that is at least as high as a 900 px screen.
  const level = levels.findLastIndex(({ height }) => height >= Math.min(900, slide.height));
  const { width, height, tileWidth } = levels[level]!;
  const tiles: string[] = [];
  for (let y = 0; y < Math.ceil(height / tileWidth); y++) {
    for (let x = 0; x < Math.ceil(width / tileWidth); x++) tiles.push(`api/slides/bench/tiles/${level}/${x}_${y}.jpg`);
  }
  await Promise.all(tiles.map(async (path) => (await get(path)).arrayBuffer()));
  const took = performance.now() - start;
  server.process.kill();
  return resultOf('first view of a slide, server and transfer', took, 'ms', { mark: { most: 500 } });
}

/** The tiles that are timed are the slide's own bytes. */
async function checkTiles(open: () => Promise<Server>, slide: string, servers: readonly Server[]): Promise<void> {
  const server = await open();
  const file = await openSlide(slide);
  try {
    for (const [level, column, row] of [
      [0, 3, 2],
      [1, 1, 1],
    ] as const) {
      const stored = await file.readStoredTile(level, column, row);
      const top = Math.ceil(Math.log2(Math.max(file.levels[0]!.width, file.levels[0]!.height)));
      const path = `api/slides/bench/deep-zoom_files/${top - level}/${column}_${row}.jpeg`;
      const served = Buffer.from(await (await fetch(new URL(path, server.address))).arrayBuffer());
      if (!stored || !served.equals(Buffer.from(stored.bytes))) throw new WrongResult(`${path} is not the stored tile`);
    }
  } finally {
    await file.close();
    servers.at(-1)!.process.kill();
  }
}

function requireNoErrors({ errors, requests }: Load): void {
  if (errors > 0) throw new WrongResult(`${errors} of ${requests} tiles did not come`);
}

/** A run that knows its slide and nothing else. */
async function writeRun(folder: string, source: string): Promise<{ width: number; height: number }> {
  const slide = await openSlide(source);
  try {
    const { width, height } = slide.levels[0]!;
    await mkdir(join(folder, 'slides/bench'), { recursive: true });
    await writeFile(join(folder, 'slides/bench/slide.json'), JSON.stringify(slideResult(slide, source)));
    return { width, height };
  } finally {
    await slide.close();
  }
}

function slideResult({ format, vendor, scale, levels }: Slide, source: string): Partial<SlideResult> {
  const { width, height }: { width: number; height: number } = levels[0]!;
  return {
    id: 'bench',
    source: resolve(source),
    hash: 'head:bench',
    format,
    vendor,
    mpp: scale.mpp,
    mppSource: scale.source,
    objectivePower: null,
    width,
    height,
    levels,
    tissueAreaUm2: null,
    patch: { px: 256, level0Px: 256, mpp: scale.mpp },
    nPatches: 0,
    unreadableTiles: 0,
    warnings: [],
  };
}

/** Starts a server and waits for the address that it prints. */
function start(program: string, args: readonly string[], servers: Server[], signal?: AbortSignal): Promise<Server> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], signal });
    let said = '';
    const listen = (text: string) => {
      said += text;
      const address = /http:\S+/.exec(said)?.[0];
      if (!address) return;
      const server = { process: child, address };
      servers.push(server);
      done(server);
    };
    child.stdout.setEncoding('utf8').on('data', listen);
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    child.once('error', fail);
    child.once('close', () => fail(new Error(said.trim().split('\n').at(-1) ?? `${program} ended`)));
  });
}

function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<void> {
  return new Promise((done, fail) => {
    // sharp sets VIPSHOME for its own libvips; the system's would miss its loaders.
    const { VIPSHOME, ...inherited } = process.env;
    const child = spawn(program, args, {
      env: { ...inherited, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
      signal,
    });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => (said += text));
    child.once('error', fail);
    child.once('close', (code) => (code === 0 ? done() : fail(new Error(`${args.join(' ')}: ${said.trim()}`))));
  });
}

function cli(): string {
  return fileURLToPath(built('../cli/lamina.js', import.meta.url));
}

/** The largest resident size of a process so far (Linux); NaN elsewhere. */
async function peakMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return (Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024) / 1e6;
}
