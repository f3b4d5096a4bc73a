/** A place of the line that holds one slide at a time; those that wait come in the order in which they asked. */
export class Station {
  #last: Promise<unknown> = Promise.resolve();

  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const turn = before.then(work, work);
    this.#last = turn.catch(() => {});
    return await turn;
  }
}

/**
 * The three places of the line. While one slide is encoded, the next is opened and its first patches are read, and the one
 * before is aggregated, drawn and written.
 */
export class Stations {
  readonly prepare = new Station();
  readonly extract = new Station();
  readonly finish = new Station();
}

/** Slides on the line at the same time: one a station. */
export const SLIDES_AT_ONCE = 3;
