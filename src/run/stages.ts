/** Which stage of the line the work is in, and how long each took. */
export type StageName =
  | 'open'
  | 'tissue'
  | 'stain'
  | 'measure'
  | 'extract'
  | 'aggregate'
  | 'explain'
  | 'heatmap'
  | 'write';

export class Stages {
  /** Wall seconds by stage. */
  readonly seconds: Partial<Record<StageName, number>> = {};
  /** The stage under way or, after a failure, the one that failed. */
  current: StageName = 'open';

  async run<T>(name: StageName, work: () => Promise<T>): Promise<T> {
    this.current = name;
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.seconds[name] = (this.seconds[name] ?? 0) + (performance.now() - start) / 1000;
    }
  }
}
