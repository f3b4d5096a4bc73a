/** A model's predictions of bags that are there already, as the table that an evaluation reads. */
import { formatTable } from '../csv.ts';
import { UserError } from '../errors.ts';
import { readBag } from '../features/store.ts';
import { type DeviceChoice, openDevice } from '../kernels/open-device.ts';
import { openModel } from '../mil/model-folder.ts';
import { predictBag } from '../mil/predict.ts';

export interface CohortPredictions {
  /** CSV, without labels. */
  readonly table: string;
  readonly model: { readonly name: string; readonly hash: string; readonly trainingDataHash: string | null };
}

export interface CohortOptions {
  readonly device: DeviceChoice;
  readonly threads: number | null;
  readonly signal: AbortSignal;
  readonly onProgress: (done: number, total: number) => void;
}

/** @throws UserError as `openModel`, `readBag` and `predictBag`; `untrained-model`. */
export async function predictCohort(
  modelPath: string,
  bags: readonly { readonly id: string; readonly path: string }[],
  { device: choice, threads, signal, onProgress }: CohortOptions,
): Promise<CohortPredictions> {
  const device = await openDevice(choice, threads === null ? {} : { threads });
  try {
    const model = await openModel(modelPath, device);
    const { card, hash } = model;
    if (!card.trained) {
      const problem = `${modelPath} holds random weights; its figures would mean nothing.`;
      throw new UserError('untrained-model', problem, 'Train a model first: lamina train.');
    }
    const rows: Record<string, string | number>[] = [];
    for (const [done, { id, path }] of bags.entries()) {
      signal.throwIfAborted();
      onProgress(done, bags.length);
      const { probabilities, risk } = await predictBag(model, await readBag(path), { signal });
      const classes = card.classes.map((name, k) => [`probability_${name}`, probabilities[k]!]);
      rows.push({ slide: id, ...(risk === null ? Object.fromEntries(classes) : { risk }) });
    }
    onProgress(bags.length, bags.length);
    model.parameters.close();
    return {
      table: formatTable(Object.keys(rows[0] ?? {}), rows),
      model: { name: card.name, hash, trainingDataHash: card.trainingDataHash },
    };
  } finally {
    await device.close();
  }
}
