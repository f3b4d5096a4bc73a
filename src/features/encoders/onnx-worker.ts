/** Holds the network of `onnx-encoder.ts`, away from the main thread: onnxruntime does not let go of its thread meanwhile. */
import { UserError } from '../../errors.ts';
import { answerQuestions } from '../batch-worker.ts';
import type { PatchBatch } from '../encoder.ts';
import { createPictureInput, type PictureInput } from './picture-input.ts';
import { poolTokens } from './pool-tokens.ts';
import type { Recipe } from './recipe.ts';
import { openSession, type Session } from './session.ts';

export type Question =
  | { readonly kind: 'open'; readonly path: string; readonly recipe: Recipe; readonly threads: number | null }
  | { readonly kind: 'encode'; readonly batch: PatchBatch };

export interface Opened {
  readonly dimension: number;
  readonly provider: Session['provider'];
}

interface Network {
  readonly path: string;
  readonly recipe: Recipe;
  readonly session: Session;
  readonly input: PictureInput;
}

let network: Network | null = null;

answerQuestions(async (question: Question) => {
  if (question.kind === 'open') {
    const { path, recipe, threads } = question;
    const session = await openSession(path, recipe, threads);
    network = { path, recipe, session, input: createPictureInput(session.plan, recipe) };
    // A grey patch tells what the file may leave open: the width, and whether the network runs at all.
    const { size } = session.plan;
    const probe = await encode(network, { pixels: new Uint8Array(3 * size * size).fill(128), count: 1, size });
    return { value: { dimension: probe.length, provider: session.provider } satisfies Opened };
  }
  const features = await encode(network!, question.batch);
  return { value: features, transfer: [features.buffer] };
});

async function encode(
  { path, recipe, session, input }: Network,
  batch: PatchBatch,
): Promise<Float32Array<ArrayBuffer>> {
  const perRun = session.plan.batch ?? batch.count;
  const parts: Float32Array[] = [];
  for (let first = 0; first < batch.count; first += perRun) {
    const { values, shape } = await session.run(input.fill(batch, first, perRun), perRun);
    const features = poolTokens(path, values, shape, recipe.tokens);
    const wanted = Math.min(perRun, batch.count - first);
    parts.push(features.subarray(0, (features.length / perRun) * wanted));
  }
  const features = joined(parts);
  if (!features.every(Number.isFinite)) {
    const problem = `${path}: the network gives numbers that are not finite.`;
    const hint = 'A file in half precision may have overflowed: export it in single precision.';
    throw new UserError('not-finite', problem, hint);
  }
  return features;
}

/** One array of its own, which can be given away. */
function joined(parts: readonly Float32Array[]): Float32Array<ArrayBuffer> {
  const features = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    features.set(part, at);
    at += part.length;
  }
  return features;
}
