/**
 * Activations of a whole bag, (rows, width), that layers read and write piece by piece: on the device while they fit there,
 * in a temporary file beyond that.
 */
import { type FileHandle, mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import type { Tape } from '../kernels/tape.ts';
import { type Tensor, tensor } from '../kernels/tensor.ts';

/** Consecutive rows. */
export interface RowRun {
  readonly first: number;
  readonly count: number;
}

export interface RowStore {
  /** The rows of all runs, one run after another. A single run may be the store itself: what is done to it is done. */
  read(tape: Tape, runs: readonly RowRun[]): Promise<Tensor>;
  /** Puts rows back where `read` with the same runs finds them. */
  write(runs: readonly RowRun[], rows: Tensor): Promise<void>;
  close(): Promise<void>;
}

/** Above this the rows go to a file: far from filling a device, and a file is cheap next to the layers' arithmetic. */
const MOST_DEVICE_BYTES = 256 * 2 ** 20;

export async function openRowStore(
  device: Device,
  rows: number,
  width: number,
  most = MOST_DEVICE_BYTES,
): Promise<RowStore> {
  const bytes = 4 * rows * width;
  return bytes <= Math.min(most, device.maxStorageBytes)
    ? deviceStore(device, rows, width)
    : fileStore(device, bytes, width);
}

function deviceStore(device: Device, rows: number, width: number): RowStore {
  const storage = device.create(rows * width);
  const window = ({ first, count }: RowRun) => tensor(storage, first * width, [count, width]);
  return {
    async read(tape, runs) {
      if (runs.length === 1) return window(runs[0]!);
      const joined = tape.create([totalOf(runs), width]);
      copyRuns(runs, joined, (own, part) => device.run('add', [own, null, part], [part.length, 1, 0]));
      return joined;
    },
    async write(runs, rows) {
      if (rows.storage === storage) return;
      copyRuns(runs, rows, (own, part) => device.run('add', [part, null, own], [part.length, 1, 0]));
    },
    async close() {
      device.release(storage);
    },
  };

  /** Calls `copy` for each run with its place in the store and its place in `rows`. */
  function copyRuns(runs: readonly RowRun[], rows: Tensor, copy: (own: Tensor, part: Tensor) => void): void {
    let at = rows.offset;
    for (const run of runs) {
      copy(window(run), tensor(rows.storage, at, [run.count, width]));
      at += run.count * width;
    }
  }
}

async function fileStore(device: Device, bytes: number, width: number): Promise<RowStore> {
  const folder = tmpdir();
  const { bavail, bsize } = await statfs(folder);
  if (bytes > bavail * bsize) {
    const [needed, free] = [bytes, bavail * bsize].map((n) => `${(n / 2 ** 30).toFixed(1)} GiB`);
    throw new UserError(
      'disk-full',
      `A bag this long needs ${needed} of temporary disk space and ${folder} has ${free}.`,
      'Set TMPDIR to a folder on a larger disk.',
    );
  }
  const own = await mkdtemp(join(folder, 'lamina-rows-'));
  const file = await open(join(own, 'rows.f32'), 'w+');
  // Where the system allows it, the name goes at once: nothing stays behind, however the program ends.
  await rm(own, { recursive: true }).catch(() => {});
  return {
    async read(tape, runs) {
      const data = new Float32Array(totalOf(runs) * width);
      let at = 0;
      for (const { first, count } of runs) {
        await readFully(file, new Uint8Array(data.buffer, 4 * at, 4 * count * width), 4 * first * width);
        at += count * width;
      }
      return tape.constant(data, [totalOf(runs), width]);
    },
    async write(runs, rows) {
      const data = await device.read(rows);
      let at = 0;
      for (const { first, count } of runs) {
        const part = new Uint8Array(data.buffer, data.byteOffset + 4 * at, 4 * count * width);
        await writeFully(file, part, 4 * first * width);
        at += count * width;
      }
    },
    async close() {
      await file.close();
      await rm(own, { recursive: true, force: true });
    },
  };
}

function totalOf(runs: readonly RowRun[]): number {
  return runs.reduce((sum, run) => sum + run.count, 0);
}

/** Beyond the end of what was written there are zeros. */
async function readFully(file: FileHandle, into: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < into.length; ) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) return;
    done += bytesRead;
  }
}

async function writeFully(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
  }
}
