/** An encoder that is opened again when it broke: what one slide did to it, or to its thread, is not the next one's business. */
import { UserError } from '../errors.ts';
import type { Encoder } from '../features/encoder.ts';

/** @param open makes another one like `first`. */
export function lastingEncoder(first: Encoder, open: () => Promise<Encoder>): Encoder {
  const { id, dimension, input, stain = null, onDevice = null } = first;
  let current: Promise<Encoder> = Promise.resolve(first);

  function replace(broken: Promise<Encoder>): void {
    if (current !== broken) return;
    current = broken
      .then((encoder) => encoder.close())
      .catch(() => {})
      .then(open);
    // Whoever encodes next hears of it.
    current.catch(() => {});
  }

  async function withCurrent<T>(work: (encoder: Encoder) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const using = current;
    try {
      return await work(await using);
    } catch (error) {
      // A batch that was refused with a sentence, or is not wanted any more, broke nothing.
      if (!(error instanceof UserError || signal?.aborted)) replace(using);
      throw error;
    }
  }

  return {
    id,
    dimension,
    input,
    stain,
    encode: (batch, signal) => withCurrent((encoder) => encoder.encode(batch, signal), signal),
    onDevice: onDevice && {
      device: onDevice.device,
      encode: (batch, target, signal) =>
        withCurrent((encoder) => encoder.onDevice!.encode(batch, target, signal), signal),
    },
    async close() {
      await (await current.catch(() => null))?.close();
    },
  };
}
