/** The machine that a figure was measured on. */
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  /** GiB */
  readonly memory: number;
  readonly system: string;
  readonly node: string;
}

export function machine(): Machine {
  const bytes = Math.min(totalmem(), process.constrainedMemory() || Number.POSITIVE_INFINITY);
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memory: Math.round((bytes / 2 ** 30) * 10) / 10,
    system: `${platform()} ${arch()} ${release()}`,
    node: process.versions.node,
  };
}
