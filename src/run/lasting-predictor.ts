/** A predictor whose device is opened again when it was lost: the slide that was on it fails, and the next ones do not. */
import type { Device } from '../kernels/device.ts';
import type { ReadableBag } from '../mil/predict.ts';
import type { Predictor } from './predictor.ts';

export interface LastingPredictor extends Predictor {
  /** The device, opened again first if it was lost. */
  openDevice(): Promise<Device>;
}

/** @param open makes another one like `first`, on a device of its own. */
export function lastingPredictor(first: Predictor, open: () => Promise<Predictor>): LastingPredictor {
  const { card, model, explains } = first;
  let latest = first;
  let opening: Promise<Predictor> | null = null;

  async function alive(): Promise<Predictor> {
    if (!latest.device.lost) return latest;
    opening ??= replace(latest).finally(() => {
      opening = null;
    });
    return await opening;
  }

  async function replace(lost: Predictor): Promise<Predictor> {
    await lost.close().catch(() => {});
    latest = await open();
    return latest;
  }

  async function aliveFor(bag: ReadableBag): Promise<Predictor> {
    const predictor = await alive();
    // Features on a lost device are lost with it, and reading none of them says so.
    if (bag.onDevice) await bag.read(0, 0);
    return predictor;
  }

  return {
    card,
    model,
    explains,
    get device() {
      return latest.device;
    },
    get deviceName() {
      return latest.deviceName;
    },
    async openDevice() {
      return (await alive()).device;
    },
    async predict(slide, bag, label, signal) {
      const predictor = await aliveFor(bag);
      const prediction = await predictor.predict(slide, bag, label, signal);
      if (predictor.device.kind === first.device.kind) return prediction;
      const warning = `The device ${first.deviceName} was lost and could not be opened again: the prediction is of ${predictor.deviceName}.`;
      return { ...prediction, warning };
    },
    sources: async (bag, row) => (await alive()).sources(bag, row),
    explain: async (bag) => (await aliveFor(bag)).explain(bag),
    async close() {
      await opening?.catch(() => {});
      await latest.close();
    },
  };
}
