/**
 * `lamina bench encoders`: patches a second of the built-in encoder on one core, and of an ONNX network against onnxruntime's
 * own loop over tensors that are ready, after a check that the two agree.
 */

import { UserError } from '../errors.ts';
import type { Encoder, PatchBatch } from '../features/encoder.ts';
import { locate } from '../features/encoders/locate.ts';
import { openOnnxEncoder } from '../features/encoders/onnx-encoder.ts';
import { poolTokens } from '../features/encoders/pool-tokens.ts';
import { openSession, type Session } from '../features/encoders/session.ts';
import { openEncoder } from '../features/open-encoder.ts';
import { encodeStains } from '../features/stain-vector.ts';
import { createRandom } from '../random.ts';
import { expectClose } from './check.ts';
import { type Report, type Result, resultOf, withoutMarks } from './result.ts';
import { bestOf, type Timing } from './timing.ts';

export interface EncoderBenchOptions {
  /** A network to measure; none is left out. */
  readonly encoder?: string;
  readonly weights?: string;
  readonly threads?: number;
  /** Few patches: whether everything runs, not how fast. */
  readonly quick?: boolean;
  readonly say?: (what: string) => void;
}

/** Patches a second that the built-in encoder has to describe on one core. */
const STAIN_MARK = 1500;
/** The share of onnxruntime's own rate that an encoder has to reach, with everything around it. */
const SHARE_OF_LOOP = 0.95;
const STAIN_SIDE = 224;
const BATCH = 32;

/** @throws WrongResult before anything is timed that is wrong. */
export async function benchEncoders(options: EncoderBenchOptions = {}): Promise<Report> {
  const { encoder, quick = false, say = () => {} } = options;
  const rounds = quick ? { rounds: 2, batches: 2 } : { rounds: 7, batches: 8 };
  const results = await benchStainTexture(rounds, say);
  const notes: string[] = [];
  if (encoder === undefined) notes.push('no network was named with --encoder: onnxruntime is not measured');
  else results.push(...(await benchNetwork(encoder, options, rounds, say)));
  return { device: 'CPU', notes, results: quick ? withoutMarks(results) : results };
}

interface Rounds {
  readonly rounds: number;
  /** Batches a round. */
  readonly batches: number;
}

async function benchStainTexture(rounds: Rounds, say: (what: string) => void): Promise<Result[]> {
  say('stain-texture');
  const batch = blots(BATCH, STAIN_SIDE);
  const encoder = await openEncoder('stain-texture');
  try {
    expectClose('stain-texture', await encoder.encode(batch), encodeStains(batch), 0);
    const [here, away] = await inTurn(rounds, [
      async () => void Array.from({ length: rounds.batches }, () => encodeStains(batch)),
      () => stream(encoder, batch, rounds.batches),
    ]);
    const rate = ({ best }: Timing) => (BATCH * rounds.batches) / (best / 1000);
    const name = `stain-texture, ${STAIN_SIDE} px, one core`;
    return [
      resultOf(name, rate(here!), 'patches/s', { spread: here!.spread, mark: { least: STAIN_MARK } }),
      resultOf(`${name}, from its worker`, rate(away!), 'patches/s', { baseline: rate(here!), spread: away!.spread }),
    ];
  } finally {
    await encoder.close();
  }
}

async function benchNetwork(
  name: string,
  { weights = null, threads = null }: { weights?: string | null; threads?: number | null },
  rounds: Rounds,
  say: (what: string) => void,
): Promise<Result[]> {
  const found = await locate(name, { weights });
  if (!found) throw new UserError('unknown-encoder', `--encoder ${name} is no network.`, 'Name an ONNX file.');
  say(found.name);
  const encoder = await openOnnxEncoder({ ...found, threads });
  const closing = [encoder.close];
  try {
    const session = await openSession(found.path, found.recipe, threads);
    closing.push(session.close);
    const count = session.plan.batch ?? BATCH;
    const batch = blots(count, session.plan.size);
    const ready = tensorOf(batch, session, encoder);
    const { values, shape } = await session.run(ready, count);
    const wanted = poolTokens(found.path, values, shape, found.recipe.tokens, session.plan.map);
    expectClose(found.name, await encoder.encode(batch), wanted, 1e-4);
    const [ours, theirs] = await inTurn(rounds, [
      () => stream(encoder, batch, rounds.batches),
      async () => {
        for (let i = 0; i < rounds.batches; i++) await session.run(ready, count);
      },
    ]);
    const rate = ({ best }: Timing) => (count * rounds.batches) / (best / 1000);
    return [
      resultOf(`${found.name} in ONNX, ${session.provider}, against its own loop`, rate(ours!), 'patches/s', {
        baseline: rate(theirs!),
        spread: ours!.spread,
        mark: { least: SHARE_OF_LOOP },
      }),
    ];
  } finally {
    for (const close of closing) await close();
  }
}

/** One batch always waits while another is encoded, as in a run. */
async function stream(encoder: Encoder, batch: PatchBatch, batches: number): Promise<void> {
  let before = encoder.encode(batch);
  for (let i = 1; i < batches; i++) {
    const next = encoder.encode(batch);
    await before;
    before = next;
  }
  await before;
}

/** Times works in turn, round after round, after one round that does not count. */
async function inTurn({ rounds }: Rounds, works: readonly (() => Promise<void>)[]): Promise<Timing[]> {
  const times: number[][] = works.map(() => []);
  for (let round = 0; round <= rounds; round++) {
    for (const [i, work] of works.entries()) {
      const start = performance.now();
      await work();
      if (round > 0) times[i]!.push(performance.now() - start);
    }
  }
  return times.map(bestOf);
}

/** Patches with something in them: squares of random stain-like colours, with noise on them. */
function blots(count: number, size: number): PatchBatch {
  const random = createRandom(17);
  const pixels = new Uint8Array(count * size * size * 3);
  const side = 14;
  for (let patch = 0; patch < count; patch++) {
    const across = Math.ceil(size / side);
    const colours = Array.from({ length: across * across }, () => [
      120 + 110 * random(),
      60 + 150 * random(),
      140 + 90 * random(),
    ]);
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        const colour = colours[Math.floor(y / side) * across + Math.floor(x / side)]!;
        const at = ((patch * size + y) * size + x) * 3;
        for (let k = 0; k < 3; k++) pixels[at + k] = colour[k]! + 20 * (random() - 0.5);
      }
    }
  }
  return { pixels, count, size };
}

/** The input of the network, by plain arithmetic. */
function tensorOf(
  { pixels, count, size }: PatchBatch,
  { plan }: Session,
  { input: { mean, std } }: Encoder,
): Float32Array {
  if (plan.type !== 'float32') {
    const problem = `The network takes ${plan.type}; only networks that take float32 are measured.`;
    throw new UserError('unknown-encoder', problem, 'Name another file with --encoder.');
  }
  const area = size * size;
  const tensor = new Float32Array(pixels.length);
  for (let i = 0; i < count * area; i++) {
    for (let k = 0; k < 3; k++) {
      const value = (pixels[3 * i + k]! / 255 - mean[k]!) / std[k]!;
      const patch = Math.floor(i / area);
      tensor[plan.layout === 'nhwc' ? 3 * i + k : (3 * patch + k) * area + (i % area)] = value;
    }
  }
  return tensor;
}
