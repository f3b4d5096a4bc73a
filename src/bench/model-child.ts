/** Runs the one measurement that its argument describes, and prints what came of it as one line of JSON. */
import { UserError } from '../errors.ts';
import { WrongResult } from './check.ts';
import { type ModelJob, type Outcome, runModelJob } from './model-job.ts';

/** What the parent throws in its turn. */
export type Failure =
  | { readonly failure: 'wrong'; readonly message: string }
  | { readonly failure: 'user'; readonly code: string; readonly problem: string; readonly hint: string };

async function answer(job: ModelJob): Promise<Outcome | Failure> {
  try {
    return await runModelJob(job);
  } catch (error) {
    if (error instanceof WrongResult) return { failure: 'wrong', message: error.message };
    if (!(error instanceof UserError)) throw error;
    const { code, problem, hint } = error;
    return { failure: 'user', code, problem, hint };
  }
}

process.stdout.write(`${JSON.stringify(await answer(JSON.parse(process.argv[2]!)))}\n`);
