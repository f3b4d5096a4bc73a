/**
 * An encoder that is opened again when it broke, or its device was lost: what one slide did to it, or to its thread, is not the
 * next one's business.
 */
import { UserError } from '../errors.ts';
import type { DeviceEncoding, Encoder } from '../features/encoder.ts';

/** @param open makes another one like `first`. */
export function lastingEncoder(first: Encoder, open: () => Promise<Encoder>): Encoder {
  const { id, dimension, input, stain = null } = first;
  let latest = first;
  let current: Promise<Encoder> = Promise.resolve(first);

  function replace(broken: Promise<Encoder>): void {
    if (current !== broken) return;
    current = broken
      .then((encoder) => encoder.close())
      .catch(() => {})
      .then(open)
      .then((encoder) => {
        latest = encoder;
        return encoder;
      });
    // Whoever encodes next hears of it.
    current.catch(() => {});
  }

  async function withCurrent<T>(work: (encoder: Encoder) => Promise<T>, signal?: AbortSignal): Promise<T> {
    let using = current;
    try {
      if ((await using).onDevice?.device.lost) {
        replace(using);
        using = current;
      }
      return await work(await using);
    } catch (error) {
      const opened = await using.catch(() => null);
      // A batch that was refused with a sentence, or is not wanted any more, broke nothing.
      if (!(opened && (error instanceof UserError || signal?.aborted))) replace(using);
      throw error;
    }
  }

  /** Null after a loss: features go by the host until the encoder is open again. */
  function encodingOf({ onDevice: former }: Encoder): DeviceEncoding | null {
    if (!former || former.device.lost) return null;
    const { device } = former;
    return {
      device,
      encode: (batch, target, signal) =>
        withCurrent(({ onDevice }) => {
          // Memory of a lost device is of no use to another: the former says what happened.
          const { encode } = onDevice?.device === device ? onDevice : former;
          return encode(batch, target, signal);
        }, signal),
    };
  }

  return {
    id,
    dimension,
    input,
    stain,
    encode: (batch, signal) => withCurrent((encoder) => encoder.encode(batch, signal), signal),
    get onDevice() {
      return encodingOf(latest);
    },
    async close() {
      await (await current.catch(() => null))?.close();
    },
  };
}
