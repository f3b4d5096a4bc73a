/** Runs the one measurement that its argument describes, and prints the outcome as one line of JSON. */
import { type ModelJob, runModelJob } from './model-job.ts';

const job = JSON.parse(process.argv[2]!) as ModelJob;
process.stdout.write(`${JSON.stringify(await runModelJob(job))}\n`);
