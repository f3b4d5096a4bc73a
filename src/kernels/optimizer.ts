/** Optimizers over a model's flat parameters. */
import type { Parameters } from './parameters.ts';
import { type Tensor, tensor } from './tensor.ts';

export interface AdamOptions {
  readonly lr: number;
  readonly betas?: readonly [number, number];
  readonly eps?: number;
  readonly weightDecay?: number;
  /** `decoupled`: AdamW; `l2`: Adam with the decay added to the gradient. */
  readonly decay?: 'decoupled' | 'l2';
  /** Which parameters decay; all by default. */
  readonly decays?: (name: string) => boolean;
  /** Gradients are scaled so that their norm over all parameters is at most this. */
  readonly maxNorm?: number | null;
}

export class Adam {
  readonly #m: Tensor;
  readonly #v: Tensor;
  readonly #norm: Tensor;
  readonly #runs: readonly { offset: number; length: number; decays: boolean }[];
  #step = 0;

  constructor(
    readonly parameters: Parameters,
    readonly options: AdamOptions,
  ) {
    const { device, values } = parameters;
    [this.#m, this.#v] = [0, 1].map(() => {
      const moment = tensor(device.create(values.length), 0, values.shape);
      device.run('fill', [moment], [moment.length, 0]);
      return moment;
    }) as [Tensor, Tensor];
    this.#norm = tensor(device.create(1), 0, [1]);
    this.#runs = decayRuns(parameters, options.decays ?? (() => true));
  }

  /** One step with the gradients gathered so far; `lr` overrides the option (schedules). Does not clear the gradients. */
  step(lr = this.options.lr): void {
    const { eps = 1e-8, weightDecay = 0, decay = 'decoupled', maxNorm = null } = this.options;
    // As the kernel sees them: 1 - 0.999 differs by 1e-5 in f32, and must cancel out in the corrections.
    const betas = (this.options.betas ?? [0.9, 0.999]).map(Math.fround) as [number, number];
    const { device, values, gradients } = this.parameters;
    this.#step++;
    if (maxNorm !== null) {
      device.run('fill', [this.#norm], [1, 0]);
      device.run('squaredNorm', [gradients, this.#norm], [gradients.length]);
    }
    for (const { offset, length, decays } of this.#runs) {
      const window = (t: Tensor) => tensor(t.storage, t.offset + offset, [length]);
      device.run(
        'adam',
        [window(values), window(gradients), window(this.#m), window(this.#v), maxNorm === null ? null : this.#norm],
        [
          length,
          lr,
          betas[0],
          betas[1],
          eps,
          decays ? weightDecay : 0,
          1 - betas[0] ** this.#step,
          1 - betas[1] ** this.#step,
          decay === 'decoupled' ? 1 : 0,
          maxNorm ?? 0,
        ],
      );
    }
  }

  /** What a later run needs to go on as if there had been no pause. */
  async readState(): Promise<AdamState> {
    const { device } = this.parameters;
    return { step: this.#step, m: await device.read(this.#m), v: await device.read(this.#v) };
  }

  writeState({ step, m, v }: AdamState): void {
    const { device } = this.parameters;
    this.#step = step;
    device.write(this.#m.storage, m);
    device.write(this.#v.storage, v);
  }

  close(): void {
    for (const t of [this.#m, this.#v, this.#norm]) this.parameters.device.release(t.storage);
  }
}

/** Moments in the layout of the flat parameters, and the steps taken. */
export interface AdamState {
  readonly step: number;
  readonly m: Float32Array;
  readonly v: Float32Array;
}

/** Neighbouring parameters of the same rule, joined. */
function decayRuns(parameters: Parameters, decays: (name: string) => boolean) {
  const runs: { offset: number; length: number; decays: boolean }[] = [];
  for (const [name, t] of parameters.tensors) {
    const last = runs.at(-1);
    if (last && last.decays === decays(name)) last.length += t.length;
    else runs.push({ offset: t.offset, length: t.length, decays: decays(name) });
  }
  return runs;
}

export interface SgdOptions {
  readonly lr: number;
  readonly weightDecay?: number;
  readonly momentum?: number;
}

/** Stochastic gradient descent: v = momentum v + gradient + decay w; w -= lr v. No recipe trains with it; golden cases ask for it. */
export class Sgd {
  readonly #velocity: Tensor;

  constructor(
    readonly parameters: Parameters,
    readonly options: SgdOptions,
  ) {
    const { device, values } = parameters;
    this.#velocity = tensor(device.create(Math.max(1, values.length)), 0, values.shape);
    device.run('fill', [this.#velocity], [values.length, 0]);
  }

  /** As `Adam.step`. */
  step(lr = this.options.lr): void {
    const { weightDecay = 0, momentum = 0 } = this.options;
    const { device, values, gradients } = this.parameters;
    const v = this.#velocity;
    device.run('add', [v, gradients, v], [v.length, momentum, 1]);
    device.run('add', [v, values, v], [v.length, 1, weightDecay]);
    device.run('sgd', [values, v], [v.length, lr, 0]);
  }

  close(): void {
    this.parameters.device.release(this.#velocity.storage);
  }
}
