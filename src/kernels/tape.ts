/**
 * The tape: runs ops on a device, remembers them when training, and walks them back.
 *
 * An op creates its outputs with `create`, runs kernels, and `record`s a closure that runs the backward kernels. Everything
 * created on a tape belongs to it and is given back by `close`, or earlier: by `done` in inference, by the backward pass
 * in training as soon as nothing needs it any more.
 */
import type { Device, View } from './device.ts';
import type { KernelName } from './kernels.ts';
import { sizeOf, type Tensor, tensor } from './tensor.ts';

interface Node {
  readonly outputs: readonly Tensor[];
  /** Tensors that only the backward closure needs: statistics, carries. */
  readonly saved: readonly Tensor[];
  readonly backward: () => void;
}

/** Where a backward kernel puts a gradient: overwrite, or add to what is already there. */
export interface GradientSlot {
  readonly view: Tensor;
  readonly accumulate: 0 | 1;
}

export interface TapeOptions {
  /** Ops are recorded and, unless `dropout` is false, dropout is on. */
  readonly training: boolean;
  /** False for gradients of the model as it predicts. */
  readonly dropout?: boolean;
  /** Makes the masks of dropout. */
  readonly seed?: number;
  /** Parts given to `checkpoint` are computed again on the way back instead of kept: less memory for about a quarter more time. */
  readonly checkpoint?: boolean;
}

export class Tape {
  readonly #nodes: Node[] = [];
  readonly #owned = new Set<View['storage']>();
  readonly #gradients = new Map<Tensor, Tensor>();
  readonly #kept = new Set<View['storage']>();
  #dropouts = 0;
  /** Inside `checkpoint`: ops run without being remembered. */
  #suspended = false;

  constructor(
    readonly device: Device,
    readonly options: TapeOptions = { training: false },
  ) {}

  get training(): boolean {
    return this.options.training;
  }

  /** Whether dropout is on. */
  get dropping(): boolean {
    return this.options.training && this.options.dropout !== false;
  }

  /** Whether ops are remembered: what they need for the way back has to be made and kept. */
  get recording(): boolean {
    return this.options.training && !this.#suspended;
  }

  /** A new tensor with undefined contents. */
  create(shape: readonly number[], needsGradient = false): Tensor {
    const storage = this.device.create(Math.max(1, sizeOf(shape)));
    this.#owned.add(storage);
    return tensor(storage, 0, shape, needsGradient && this.recording);
  }

  /**
   * A new tensor that only passes from one kernel to the next: stored as f16 where the device does so. In training it is f32,
   * as the gradients are, and so also inside `checkpoint`: the way back computes it again and must find the same.
   */
  createPassing(shape: readonly number[], needsGradient = false): Tensor {
    if (this.training || !this.device.half) return this.create(shape, needsGradient);
    const length = sizeOf(shape);
    const { storage } = this.create([Math.ceil(length / 2)]);
    return { ...tensor(storage, 0, shape), half: true };
  }

  /** A new tensor holding host data. */
  constant(data: Float32Array | Int32Array, shape: readonly number[], needsGradient = false): Tensor {
    const t = this.create(shape, needsGradient);
    if (data.length) this.device.write(t.storage, data);
    return t;
  }

  zeros(shape: readonly number[]): Tensor {
    const t = this.create(shape);
    this.run('fill', [t], [t.length, 0]);
    return t;
  }

  run(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void {
    this.device.run(kernel, views, params);
  }

  /** Remembers how to go back through an op. Without training, what only the way back needs is given back at once. */
  record(outputs: readonly Tensor[], saved: readonly Tensor[], backward: () => void): void {
    if (this.recording && outputs.some((t) => t.needsGradient)) this.#nodes.push({ outputs, saved, backward });
    else for (const t of saved) this.#release(t);
  }

  /** This tensor is not read again. Does nothing while recording, where the way back may need it. */
  done(...tensors: readonly (Tensor | null)[]): void {
    if (!this.recording) for (const t of tensors) if (t) this.#release(t);
  }

  /** Whether an op may write its result over this tensor, which it is the last to read. */
  mayOverwrite(t: Tensor): boolean {
    return !this.recording && this.#owned.has(t.storage) && !this.#kept.has(t.storage);
  }

  /**
   * Runs a part of the forward pass and, with the option `checkpoint`, forgets all of it but the result: the way back runs
   * it again. `inputs` are what it reads besides parameters; it must create the same thing each time.
   */
  checkpoint(inputs: readonly Tensor[], part: () => Tensor): Tensor {
    if (!this.recording || !this.options.checkpoint) return part();
    const guarded = inputs.filter((t) => !this.#kept.has(t.storage));
    const dropouts = this.#dropouts;
    for (const t of guarded) this.#kept.add(t.storage);
    this.#suspended = true;
    let result: Tensor;
    try {
      result = { ...part(), needsGradient: true };
    } finally {
      this.#suspended = false;
      for (const t of guarded) this.#kept.delete(t.storage);
    }
    const backward = () => {
      const later = this.#dropouts;
      this.#dropouts = dropouts;
      // The nodes that this records are the next to be walked back.
      const again = part();
      this.#dropouts = later;
      this.#gradients.set(again, this.gradientOf(result)!);
      this.#gradients.delete(result);
    };
    this.#nodes.push({ outputs: [result], saved: [], backward });
    return result;
  }

  /** Gives back a tensor that no recorded op refers to. */
  discard(t: Tensor): void {
    this.#release(t);
  }

  /** A window of a tensor under another shape; its gradient flows into the whole. */
  view(t: Tensor, offset: number, shape: readonly number[]): Tensor {
    const v: Tensor = { ...tensor(t.storage, t.offset + offset, shape), needsGradient: t.needsGradient };
    if (offset + v.length > t.length) throw new Error(`view [${shape}] at ${offset} leaves [${t.shape}]`);
    if (!this.recording || !t.needsGradient) return v;
    const adopted = this.#gradients.get(t);
    if (adopted) {
      this.#gradients.set(v, tensor(adopted.storage, adopted.offset + offset, shape));
      return v;
    }
    this.#nodes.push({ outputs: [], saved: [], backward: () => this.#viewBackward(t, v, offset) });
    return v;
  }

  #viewBackward(t: Tensor, v: Tensor, offset: number): void {
    const gradient = this.#gradients.get(v);
    if (!gradient) return;
    this.#gradients.delete(v);
    if (v.length === t.length && !this.#gradients.has(t)) {
      this.#gradients.set(t, { ...gradient, shape: t.shape });
      return;
    }
    const slot = this.gradientSlot(t);
    if (!slot.accumulate) this.run('fill', [slot.view], [t.length, 0]);
    const window = tensor(slot.view.storage, slot.view.offset + offset, v.shape);
    this.run('add', [window, gradient, window], [v.length, 1, 1]);
    this.#release(gradient);
  }

  /** Keeps a tensor (logits, scores) readable until `close`. */
  keep<T extends Tensor>(t: T): T {
    this.#kept.add(t.storage);
    return t;
  }

  /** Lets gradients of a tensor that outlives the tape (a parameter) gather in storage of its owner. */
  adopt(t: Tensor, gradient: Tensor): void {
    this.#gradients.set(t, gradient);
  }

  /** Where the gradient of `t` goes next. The first op to ask overwrites, later ones add. */
  gradientSlot(t: Tensor): GradientSlot {
    const present = this.#gradients.get(t);
    if (present) return { view: present, accumulate: 1 };
    const view = this.create(t.shape);
    this.#gradients.set(t, view);
    return { view, accumulate: 0 };
  }

  /** The gradient of a parameter, which kernels add to whatever is there. */
  zeroedSlot(parameter: Tensor): Tensor {
    const { view, accumulate } = this.gradientSlot(parameter);
    if (!accumulate) this.run('fill', [view], [view.length, 0]);
    return view;
  }

  /** The gradient that reached `t`, if any. */
  gradientOf(t: Tensor): Tensor | null {
    return this.#gradients.get(t) ?? null;
  }

  /** A fresh seed for each dropout of this tape, the same in the same order of ops. */
  nextSeed(): number {
    return (Math.imul((this.options.seed ?? 0) + 1, 0x9e3779b1) + Math.imul(++this.#dropouts, 0x85ebca77)) >>> 0;
  }

  /** Walks back from tensors whose gradients are given (the loss op leaves its own). */
  backward(seeds: readonly (readonly [Tensor, Tensor])[] = []): void {
    for (const [t, gradient] of seeds) this.#gradients.set(t, gradient);
    for (let node = this.#nodes.pop(); node; node = this.#nodes.pop()) {
      if (node.outputs.length === 0 || node.outputs.some((t) => this.#gradients.has(t))) node.backward();
      for (const t of node.saved) this.#release(t);
      for (const t of node.outputs) {
        const gradient = this.#gradients.get(t);
        if (gradient && !this.#kept.has(t.storage)) this.#release(gradient);
        this.#release(t);
      }
    }
  }

  close(): void {
    this.#kept.clear();
    for (const storage of this.#owned) this.device.release(storage);
    this.#owned.clear();
    this.#nodes.length = 0;
    this.#gradients.clear();
  }

  #release(t: Tensor): void {
    if (this.#kept.has(t.storage) || !this.#owned.delete(t.storage)) return;
    this.device.release(t.storage);
  }
}
