/**
 * The thread of `onnx-encoder.ts`: holds the network, for onnxruntime does not let go of its thread while it computes; or, when
 * that is on a GPU, only prepares its input.
 */
import { answerQuestions } from '../batch-worker.ts';
import type { PatchBatch } from '../encoder.ts';
import { countFeatures, encodeBatch, type Network } from './network.ts';
import { createPictureInput, type PictureInput, type Pictures } from './picture-input.ts';
import type { Recipe } from './recipe.ts';
import { openSession } from './session.ts';

export type Question =
  /** Opens the network. Answer: the number of features. */
  | { readonly kind: 'open'; readonly path: string; readonly recipe: Recipe; readonly threads: number | null }
  /** Answer: the features. */
  | { readonly kind: 'encode'; readonly batch: PatchBatch }
  /** Gets ready for `prepare`; no answer. */
  | { readonly kind: 'plan'; readonly plan: Pictures; readonly recipe: Recipe }
  /** Answer: the input of the network, as `PictureInput.fill`. */
  | { readonly kind: 'prepare'; readonly batch: PatchBatch; readonly first: number; readonly count: number };

let network: Network | null = null;
let input: PictureInput | null = null;

answerQuestions(async (question: Question) => {
  switch (question.kind) {
    case 'open': {
      const { path, recipe, threads } = question;
      const session = await openSession(path, recipe, threads);
      network = { path, recipe, session, input: createPictureInput(session.plan, recipe) };
      return { value: await countFeatures(network) };
    }
    case 'encode': {
      const features = await encodeBatch(network!, question.batch);
      return { value: features, transfer: [features.buffer] };
    }
    case 'plan':
      input = createPictureInput(question.plan, question.recipe);
      return { value: null };
    case 'prepare': {
      const { batch, first, count } = question;
      // A copy: the memory is wanted for the next.
      const data = input!.fill(batch, first, count).slice();
      return { value: data, transfer: [data.buffer] };
    }
  }
});
