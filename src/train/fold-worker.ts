/** A worker thread that trains one fold after another. */
import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, UserError } from '../errors.ts';
import { openWasm } from '../kernels/wasm/open-node.ts';
import { openBagSource } from './bag-files.ts';
import { type FromWorker, hooksOf, type ToWorker, type WorkerPlace } from './fold-runner.ts';
import { type EpochRecord, trainFold } from './fold-training.ts';

const { source, threads } = workerData as WorkerPlace;
const port = parentPort!;
const post = (message: FromWorker) => port.postMessage(message);
const bags = openBagSource(source);
// One device for all folds: its code is fast only after a while.
const opened = openWasm({ threads });

port.on('message', async ({ number, run }: ToWorker) => {
  try {
    const device = await opened;
    const onEpoch = (record: EpochRecord) => post({ kind: 'epoch', number, record });
    post({ kind: 'done', number, outcome: await trainFold(device, bags, run, { ...hooksOf(run), onEpoch }) });
  } catch (error) {
    const known = error instanceof UserError;
    const message = known ? error.problem : ((error as Error).stack ?? messageOf(error));
    post({ kind: 'failed', code: known ? error.code : null, message, hint: known ? error.hint : '' });
  }
});
