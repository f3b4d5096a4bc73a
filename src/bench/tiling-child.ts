/** Runs the one measurement that its argument describes, and prints what came of it as one line of JSON. */
import { WrongResult } from './check.ts';
import { type Figures, runTilingJob, type TilingJob } from './tiling-job.ts';

export type TilingAnswer = { readonly figures: Figures } | { readonly wrong: string };

async function answer(job: TilingJob): Promise<TilingAnswer> {
  try {
    return { figures: await runTilingJob(job) };
  } catch (error) {
    if (error instanceof WrongResult) return { wrong: error.message };
    throw error;
  }
}

process.stdout.write(`${JSON.stringify(await answer(JSON.parse(process.argv[2]!)))}\n`);
