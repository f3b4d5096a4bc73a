/**
 * Weights of a model: one flat piece of storage for the values and one for the gradients, cut into named tensors.
 * Flat, so that clearing gradients and an optimizer step are one kernel each.
 */
import { UserError } from '../errors.ts';
import type { Device, Storage } from './device.ts';
import type { Tape } from './tape.ts';
import { sizeOf, type Tensor, tensor } from './tensor.ts';

export class Parameters {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly values: Tensor;
  #gradients: Tensor | null = null;

  private constructor(
    readonly device: Device,
    tensors: ReadonlyMap<string, Tensor>,
    values: Tensor,
  ) {
    this.tensors = tensors;
    this.values = values;
  }

  /** Lays out the named shapes in order. Contents are undefined until `write`. */
  static create(device: Device, shapes: ReadonlyMap<string, readonly number[]>): Parameters {
    let total = 0;
    for (const shape of shapes.values()) total += sizeOf(shape);
    const storage = device.create(Math.max(1, total));
    const tensors = new Map<string, Tensor>();
    let offset = 0;
    for (const [name, shape] of shapes) {
      tensors.set(name, tensor(storage, offset, shape, true));
      offset += sizeOf(shape);
    }
    return new Parameters(device, tensors, tensor(storage, 0, [total], true));
  }

  get(name: string): Tensor {
    const t = this.tensors.get(name);
    if (!t) throw new Error(`no parameter ${name}`);
    return t;
  }

  /** Gradients of all parameters, in the layout of `values`; created zeroed at first use. */
  get gradients(): Tensor {
    if (!this.#gradients) {
      this.#gradients = tensor(this.device.create(Math.max(1, this.values.length)), 0, this.values.shape);
      this.clearGradients();
    }
    return this.#gradients;
  }

  gradient(name: string): Tensor {
    const t = this.get(name);
    return tensor(this.gradients.storage, t.offset, t.shape);
  }

  clearGradients(): void {
    const g = this.gradients;
    this.device.run('fill', [g], [g.length, 0]);
  }

  /** Lets a training tape add gradients here. */
  attach(tape: Tape): void {
    if (tape.training) for (const [name, t] of this.tensors) tape.adopt(t, this.gradient(name));
  }

  /** Copies weights in. Throws a UserError that names the first tensor that is missing, unknown or of another shape. */
  write(
    weights: ReadonlyMap<string, { readonly shape: readonly number[]; readonly data: Float32Array }>,
    source: string,
  ): void {
    for (const [name, t] of this.tensors) {
      const given = weights.get(name);
      if (!given) {
        throw new UserError(
          'missing-weight',
          `${source}: no tensor "${name}".`,
          'Check that model.json names the type the weights were trained with.',
        );
      }
      if (sizeOf(given.shape) !== t.length || given.shape.some((n, i) => n !== t.shape[i])) {
        throw new UserError(
          'weight-shape',
          `${source}: tensor "${name}" is [${given.shape}] but the model card asks for [${t.shape}].`,
          'Correct the dimensions in model.json.',
        );
      }
      this.device.write(t.storage, given.data, t.offset);
    }
    for (const name of weights.keys()) {
      if (!this.tensors.has(name)) {
        throw new UserError(
          'unknown-weight',
          `${source}: tensor "${name}" belongs to no part of this model.`,
          'Check the type in model.json.',
        );
      }
    }
  }

  async read(name: string): Promise<Float32Array> {
    return this.device.read(this.get(name));
  }

  close(): void {
    const storages: Storage[] = [this.values.storage];
    if (this.#gradients) storages.push(this.#gradients.storage);
    for (const storage of storages) this.device.release(storage);
  }
}
