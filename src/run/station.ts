/** A place of the line that holds one slide at a time; those that wait come in the order in which they asked. */
export class Station {
  #last: Promise<unknown> = Promise.resolve();
  #slides = 0;

  /** Whether nobody is there, and nobody waits. */
  get isFree(): boolean {
    return this.#slides === 0;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const turn = before.then(work, work);
    this.#last = turn.catch(() => {});
    this.#slides++;
    try {
      return await turn;
    } finally {
      this.#slides--;
    }
  }
}

/**
 * The places of the line. While one slide is encoded, the next is opened and its first patches are read, and the one
 * before is aggregated, drawn and written.
 */
export class Stations {
  readonly prepare = new Station();
  readonly extract = new Station();
  readonly finish = new Station();
  /** The model, which the last two share: one reads a finished slide, one what there is of the next. */
  readonly model = new Station();
}

/** Slides on the line at the same time: one a station. */
export const SLIDES_AT_ONCE = 3;
