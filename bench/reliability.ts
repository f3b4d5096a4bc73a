/**
 * What a batch is worth when processes are killed at random moments: one process, with the built-in encoder or a network in ONNX, or
 * workers of a queue whose Redis is killed too.
 *
 *     npx tsx bench/reliability.ts [--kills 100] [--slides 20] [--seed 1] [--only batch|onnx|queue]
 *
 * Runs the built program (`npm run build`) on synthetic slides. After the kills the batch is started once more, and then every
 * slide must be there once, its bag the same bytes as in a run that nobody disturbed, and no temporary file left.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeSyntheticSlide } from '../datasets/synthetic/slide.ts';
import { parseTable } from '../src/csv.ts';
import { createRandom } from '../src/random.ts';
import { saveRandomModel } from '../test/cli/random-model.ts';
import { saveSmallEncoder } from './onnx/small-encoder.ts';
import { hasRedis, startRedis } from './redis-server.ts';

const PROGRAM = resolve('dist/src/cli/lamina.js');

export interface ReliabilityOptions {
  readonly kills: number;
  readonly slides: number;
  readonly seed: number;
  /** The built-in one unless said otherwise. */
  readonly encoder?: 'stain-texture' | 'onnx';
  readonly say?: (what: string) => void;
}

export interface ReliabilityReport {
  readonly kills: number;
  /** How often a batch had to be begun, because the one before was finished. */
  readonly batches: number;
  /** Slides that were under way when their process was killed. */
  readonly interrupted: number;
  readonly slides: number;
  /** What was found wrong, in sentences; empty when all is as it should be. */
  readonly faults: readonly string[];
}

interface Workplace {
  readonly folder: string;
  readonly slides: string;
  readonly model: string;
  /** A file of a network; null for the built-in one. */
  readonly encoder: string | null;
  /** Hash of each bag of an undisturbed run. */
  readonly bags: ReadonlyMap<string, string>;
  /** How long that took. */
  readonly seconds: number;
}

/** Kills one process after random times, starts it again, until it was killed so often; then lets it finish. */
export async function killBatch({
  kills,
  slides,
  seed,
  encoder = 'stain-texture',
  say = () => {},
}: ReliabilityOptions): Promise<ReliabilityReport> {
  const place = await workplace(slides, encoder);
  const random = createRandom(seed);
  const faults: string[] = [];
  let [done, batches, interrupted] = [0, 0, 0];
  try {
    while (done < kills) {
      const out = join(place.folder, `batch-${batches++}`);
      const finished = new Map<string, number>();
      for (let ended = false; done < kills && !ended; ) {
        const run = lamina(runArguments(place, out));
        const killed = await killAfter(run, 800 * random() * place.seconds);
        ended = !killed;
        if (killed) done++;
        interrupted += (await names(join(out, 'slides'))).filter((name) => name.endsWith('.partial')).length;
        faults.push(...(await changedBags(out, finished)));
        say(`batch ${batches}, kill ${done}/${kills}, ${finished.size}/${slides} slides done`);
      }
      const { code, text } = await lamina(runArguments(place, out)).ended;
      if (code !== 0) faults.push(`batch ${batches} ended with ${code}: ${text}`);
      faults.push(...(await changedBags(out, finished)), ...(await faultsOf(out, place)));
    }
    return { kills: done, batches, interrupted, slides, faults };
  } finally {
    await rm(place.folder, { recursive: true, force: true });
  }
}

export interface QueueReliabilityOptions extends ReliabilityOptions {
  readonly workers: number;
}

/** Kills workers at random, and Redis once in the middle. */
export async function killWorkers(options: QueueReliabilityOptions): Promise<ReliabilityReport> {
  const { kills, slides, seed, workers, say = () => {} } = options;
  const place = await workplace(slides, 'stain-texture');
  const redisFolder = join(place.folder, 'redis');
  await mkdir(redisFolder);
  const redis = await startRedis(redisFolder);
  const random = createRandom(seed);
  const faults: string[] = [];
  let [done, batches, interrupted] = [0, 0, 0];
  let restarted = false;
  const worker = () => lamina(['worker', '--queue', redis.url, '--stalled-after', '2', '--until-empty']);
  try {
    while (done < kills) {
      const out = join(place.folder, `queue-${batches++}`);
      const finished = new Map<string, number>();
      await succeed(submitArguments(place, out, redis.url), faults);
      const team = Array.from({ length: workers }, worker);
      for (let ended = false; done < kills && !ended; ) {
        await sleep(1000 * random() * place.seconds);
        if (!restarted && done >= kills / 2) {
          restarted = true;
          await redis.restart();
          say('Redis was killed and is back');
        }
        const victim = Math.floor(random() * workers);
        ended = team.every(({ child }) => child.exitCode !== null);
        if (team[victim]!.child.exitCode !== null) continue;
        await kill(team[victim]!.child);
        done++;
        interrupted += (await names(join(out, 'slides'))).filter((name) => name.endsWith('.partial')).length;
        faults.push(...(await changedBags(out, finished)));
        say(`batch ${batches}, kill ${done}/${kills}, ${finished.size}/${slides} slides done`);
        team[victim] = worker();
      }
      await Promise.all(team.map(({ ended }) => ended));
      // What was parked, because too many workers died over it, gets another chance.
      await succeed(submitArguments(place, out, redis.url), faults);
      await succeed(['worker', '--queue', redis.url, '--stalled-after', '2', '--until-empty'], faults);
      const status = JSON.parse((await lamina(['status', '--queue', redis.url, '--json']).ended).stdout);
      if (status.parked.length + status.waiting + status.active + status.delayed > 0) {
        faults.push(`the queue is not empty: ${JSON.stringify(status)}`);
      }
      faults.push(...(await changedBags(out, finished)), ...(await faultsOf(out, place)));
    }
    if (!restarted) faults.push('Redis was never restarted');
    return { kills: done, batches, interrupted, slides, faults };
  } finally {
    await redis.stop();
    await rm(place.folder, { recursive: true, force: true });
  }
}

async function workplace(count: number, kind: 'stain-texture' | 'onnx'): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), 'lamina-reliability-'));
  const slides = join(folder, 'slides');
  await mkdir(slides);
  for (let i = 0; i < count; i++) {
    await writeSyntheticSlide(join(slides, `s${i}.tif`), {
      seed: i,
      widthPx: 1280,
      heightPx: 1024,
      tumour: i % 2 === 0,
    });
  }
  const model = join(folder, 'model');
  const encoder = kind === 'onnx' ? join(folder, 'small.onnx') : null;
  await (encoder === null ? saveRandomModel(model) : saveSmallEncoder(encoder, model));
  const place = { folder, slides, model, encoder, bags: new Map(), seconds: 0 };
  const start = performance.now();
  const undisturbed = join(folder, 'undisturbed');
  const { code, text } = await lamina(runArguments(place, undisturbed)).ended;
  if (code !== 0) throw new Error(`the undisturbed run ended with ${code}: ${text}`);
  const seconds = (performance.now() - start) / 1000;
  const ids = await names(join(undisturbed, 'slides'));
  const hashes = ids.map(async (id): Promise<[string, string]> => [id, await hashOfBag(undisturbed, id)]);
  return { ...place, seconds, bags: new Map(await Promise.all(hashes)) };
}

function runArguments({ slides, model, encoder }: Workplace, out: string): string[] {
  const how = ['--device', 'wasm', '--threads', '1', ...(encoder === null ? [] : ['--encoder', encoder])];
  return ['run', slides, '--model', model, '--out', out, ...how];
}

function submitArguments(place: Workplace, out: string, url: string): string[] {
  const [, ...rest] = runArguments(place, out);
  return ['submit', ...rest, '--queue', url];
}

/** Everything that should hold at the end. */
async function faultsOf(out: string, { bags }: Workplace): Promise<string[]> {
  const faults: string[] = [];
  const summary = parseTable('summary.csv', await readFile(join(out, 'summary.csv'), 'utf8')).rows;
  for (const id of bags.keys()) {
    const rows = summary.filter(({ slide }) => slide === id);
    if (rows.length !== 1 || rows[0]!.status !== 'done')
      faults.push(`${out}: ${id} is in the summary as ${JSON.stringify(rows)}`);
    const hash = await hashOfBag(out, id).catch(() => 'no bag');
    if (hash !== bags.get(id))
      faults.push(`${out}: the bag of ${id} differs from that of an undisturbed run (${hash})`);
  }
  if (summary.length !== bags.size)
    faults.push(`${out}: the summary has ${summary.length} rows for ${bags.size} slides`);
  const all = await readdir(out, { recursive: true });
  for (const name of all.filter((name) => /\.partial|\.lock/.test(name))) faults.push(`${out}: ${name} was left`);
  return faults;
}

/** A finished slide must not be made again. Remembers the new ones. */
async function changedBags(out: string, finished: Map<string, number>): Promise<string[]> {
  const faults: string[] = [];
  for (const id of (await names(join(out, 'slides'))).filter((name) => !name.startsWith('.'))) {
    const { mtimeMs } = await stat(join(out, 'slides', id, 'slide.json'));
    const before = finished.get(id);
    if (before !== undefined && before !== mtimeMs) faults.push(`${out}: ${id} was finished and was made again`);
    finished.set(id, mtimeMs);
  }
  return faults;
}

async function hashOfBag(out: string, id: string): Promise<string> {
  return createHash('sha256')
    .update(await readFile(join(out, 'slides', id, 'bag.arrow')))
    .digest('hex');
}

const names = (folder: string) => readdir(folder).catch(() => [] as string[]);

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  /** All that it said. */
  readonly text: string;
}

function lamina(args: readonly string[]): { child: ChildProcess; ended: Promise<Ended> } {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, text] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (piece) => {
    stdout += piece;
    text += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece) => (text += piece));
  return { child, ended: new Promise((done) => child.once('close', (code) => done({ code, stdout, text }))) };
}

async function succeed(args: readonly string[], faults: string[]): Promise<void> {
  const { code, text } = await lamina(args).ended;
  if (code !== 0) faults.push(`lamina ${args[0]} ended with ${code}: ${text}`);
}

/** @returns whether it was still running. */
async function killAfter({ child, ended }: ReturnType<typeof lamina>, ms: number): Promise<boolean> {
  await Promise.race([ended, sleep(ms)]);
  return await kill(child);
}

async function kill(child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null) return false;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
  return child.signalCode === 'SIGKILL';
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '100' },
      slides: { type: 'string', default: '20' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
    },
  });
  const say = (what: string) => void process.stderr.write(`${what}\n`);
  const options = { kills: Number(values.kills), slides: Number(values.slides), seed: Number(values.seed), say };
  const reports: Record<string, ReliabilityReport> = {};
  const wanted = (name: string) => values.only === undefined || values.only === name;
  if (wanted('batch')) reports.batch = await killBatch(options);
  if (wanted('onnx')) reports.onnx = await killBatch({ ...options, encoder: 'onnx' });
  if (wanted('queue')) {
    if (!hasRedis) say('There is no redis-server here: the queue was not tried.');
    else reports.queue = await killWorkers({ ...options, workers: 3 });
  }
  process.stdout.write(`${JSON.stringify(reports, null, 2)}\n`);
  if (Object.values(reports).some(({ faults }) => faults.length > 0)) process.exitCode = 1;
}
