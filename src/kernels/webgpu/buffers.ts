/** GPU buffers for storages: rounded to size classes and used again, because creating one costs more than a small kernel. */
import { UserError } from '../../errors.ts';
import type { Storage } from '../device.ts';

export const BUFFER_USAGE = { mapRead: 1, copySrc: 4, copyDst: 8, uniform: 64, storage: 128 } as const;

export class GpuStorage implements Storage {
  released = false;
  constructor(
    readonly length: number,
    readonly buffer: PooledBuffer,
  ) {}
}

export interface PooledBuffer {
  readonly id: number;
  readonly gpu: GPUBuffer;
  readonly bytes: number;
  /** Number of the batch of commands that used it last. */
  batch: number;
}

export class BufferPool {
  readonly #device: GPUDevice;
  readonly #free = new Map<number, PooledBuffer[]>();
  /** Commands that use free buffers must be on their way before such a buffer is destroyed. */
  readonly #beforeDestroy: () => void;
  #nextId = 0;
  #held = 0;
  #live = 0;
  #peak = 0;

  constructor(device: GPUDevice, beforeDestroy: () => void) {
    this.#device = device;
    this.#beforeDestroy = beforeDestroy;
  }

  get memory(): { live: number; peak: number } {
    return { live: this.#live, peak: this.#peak };
  }

  take(length: number): GpuStorage {
    const wanted = Math.max(1, length) * 4;
    const { maxBufferSize } = this.#device.limits;
    if (!(wanted <= maxBufferSize)) {
      throw new UserError(
        'gpu-memory',
        `A tensor of ${megabytes(wanted)} is larger than this GPU's largest buffer of ${megabytes(maxBufferSize)}.`,
        'Use smaller chunks of patches, or the device `wasm`.',
      );
    }
    const bytes = Math.min(sizeClass(wanted), maxBufferSize);
    const buffer = this.#free.get(bytes)?.pop() ?? this.#create(bytes);
    this.#live += bytes;
    this.#peak = Math.max(this.#peak, this.#live);
    return new GpuStorage(length, buffer);
  }

  give(storage: GpuStorage): void {
    if (storage.released) return;
    storage.released = true;
    const { buffer } = storage;
    this.#live -= buffer.bytes;
    const list = this.#free.get(buffer.bytes);
    if (list) list.push(buffer);
    else this.#free.set(buffer.bytes, [buffer]);
  }

  /** Destroys all free buffers. */
  clear(): void {
    this.#beforeDestroy();
    for (const list of this.#free.values()) {
      for (const buffer of list) {
        buffer.gpu.destroy();
        this.#held -= buffer.bytes;
      }
    }
    this.#free.clear();
  }

  #create(bytes: number): PooledBuffer {
    // Free buffers of other sizes may not pile up beyond half of what was ever needed at once.
    if (this.#held + bytes > Math.max(SPARE_BYTES, 1.5 * Math.max(this.#peak, this.#live + bytes))) this.clear();
    this.#held += bytes;
    const { storage, copySrc, copyDst } = BUFFER_USAGE;
    const gpu = this.#device.createBuffer({ size: bytes, usage: storage | copySrc | copyDst });
    return { id: this.#nextId++, gpu, bytes, batch: -1 };
  }
}

const SPARE_BYTES = 64 << 20;

/** Next multiple of an eighth of the largest power of two below; at least 256 bytes. */
function sizeClass(bytes: number): number {
  if (bytes <= 256) return 256;
  const step = Math.max(256, 2 ** (Math.ceil(Math.log2(bytes)) - 4));
  return Math.ceil(bytes / step) * step;
}

export function megabytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(bytes < 2 ** 24 ? 1 : 0)} MiB`;
}
