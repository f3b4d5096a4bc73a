/** Gradients by central differences, the check that needs no reference. */
import { expect } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { Tape } from '../../src/kernels/tape.ts';
import type { Tensor } from '../../src/kernels/tensor.ts';
import type { HostTensor } from '../../src/mil/safetensors.ts';
import { createRandom, integer } from '../../src/random.ts';
import { randomNumbers } from './small-models.ts';

export type Inputs = Readonly<Record<string, HostTensor>>;

/** An op or a composition of ops. */
export type Build = (tape: Tape, inputs: Readonly<Record<string, Tensor>>) => Tensor;

/** A loss, which leaves `scale` x its gradient on the tape by itself. */
export interface LossBuild {
  readonly loss: Build;
  readonly scale: number;
}

/** Elements of each input that are wiggled. */
const SAMPLES = 6;

/**
 * Compares the tape's gradients of sum(w y), w random, with (f(x + h) - f(x - h)) / 2h at random elements of every input.
 * In f32 the differences are good for about two digits, relative to the largest gradient of that input.
 */
export async function expectGradients(
  device: Device,
  inputs: Inputs,
  build: Build | LossBuild,
  seed: number,
  h = 4e-3,
): Promise<void> {
  /** The loss, and with it the gradients if asked for; training both times, so that dropout's masks are the same. */
  const run = async (values: Inputs, back: boolean) => {
    const tape = new Tape(device, { training: true, seed: 1 });
    const tensors = Object.entries(values).map(
      ([name, { data, shape }]) => [name, tape.constant(data, shape, true)] as const,
    );
    const isLoss = typeof build !== 'function';
    const y = tape.keep((isLoss ? build.loss : build)(tape, Object.fromEntries(tensors)));
    const w = isLoss ? Float32Array.of(build.scale) : randomNumbers(seed, y.length);
    const loss = (await device.read(y)).reduce((sum, v, i) => sum + v * w[i]!, 0);
    const gradients: Record<string, Float32Array> = {};
    if (back) {
      tape.backward(isLoss ? [] : [[y, tape.constant(w, y.shape)]]);
      for (const [name, t] of tensors) {
        const gradient = tape.gradientOf(t);
        gradients[name] = gradient ? await device.read(gradient) : new Float32Array(t.length);
      }
    }
    tape.close();
    return { loss, gradients };
  };
  const lossOf = async (values: Inputs) => (await run(values, false)).loss;

  const { gradients } = await run(inputs, true);
  const random = createRandom(seed + 1);
  for (const [name, { data, shape }] of Object.entries(inputs)) {
    const gradient = gradients[name]!;
    const size = gradient.reduce((most, g) => Math.max(most, Math.abs(g)), 0);
    for (let k = 0; k < Math.min(SAMPLES, data.length); k++) {
      const i = data.length <= SAMPLES ? k : integer(random, data.length);
      const moved = (by: number): Inputs => {
        const other = data.slice();
        other[i]! += by;
        return { ...inputs, [name]: { data: other, shape } };
      };
      const difference = ((await lossOf(moved(h))) - (await lossOf(moved(-h)))) / (2 * h);
      const error = Math.abs(difference - gradient[i]!);
      expect(error, `d${name}[${i}]: ${gradient[i]} on the tape, ${difference} by differences`).toBeLessThan(
        0.02 * size + 3e-4,
      );
    }
  }
}
