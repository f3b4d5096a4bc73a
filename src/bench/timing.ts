/** Best of several rounds after a warm-up, and how far the rounds lie apart. */
import type { Device } from '../kernels/device.ts';

export interface Timing {
  /** The best round; milliseconds for kernels. */
  readonly best: number;
  /** How far the middle round lies above the best, as a share of the best; null for a single round. */
  readonly spread: number | null;
}

export interface Work {
  readonly device: Pick<Device, 'finish'>;
  run(): unknown;
}

export interface Rounds {
  readonly rounds: number;
  /** A round repeats the work until it takes this long: clocks and launches of a GPU are coarse. */
  readonly roundMs: number;
}

/** Times kernels in turn, round after round, so that what disturbs the machine disturbs all of them alike. */
export async function timeTogether(works: readonly Work[], { rounds, roundMs }: Rounds): Promise<Timing[]> {
  const repeats: number[] = [];
  for (const work of works) {
    await elapsed(work, 1);
    const once = await elapsed(work, 1);
    repeats.push(Math.min(1000, Math.max(1, Math.ceil(roundMs / once))));
  }
  const times: number[][] = works.map(() => []);
  for (let round = 0; round < rounds; round++) {
    for (const [i, work] of works.entries()) times[i]!.push((await elapsed(work, repeats[i]!)) / repeats[i]!);
  }
  return times.map(bestOf);
}

async function elapsed({ device, run }: Work, repeats: number): Promise<number> {
  await device.finish();
  const start = performance.now();
  for (let i = 0; i < repeats; i++) {
    const pending = run();
    if (pending instanceof Promise) await pending;
  }
  await device.finish();
  return performance.now() - start;
}

export function bestOf(times: readonly number[]): Timing {
  const sorted = [...times].sort((a, b) => a - b);
  const [best, middle] = [sorted[0]!, sorted[sorted.length >> 1]!];
  return { best, spread: times.length > 1 ? middle / best - 1 : null };
}
