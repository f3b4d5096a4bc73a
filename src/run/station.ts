/** A place of the line for one slide at a time; those that wait come in the order in which they asked. */
export class Station {
  #last: Promise<void> = Promise.resolve();
  #slides = 0;

  /** Whether nobody is there, and nobody waits. */
  get isFree(): boolean {
    return this.#slides === 0;
  }

  /** @param work may let the next one in before it is done, by calling `makeRoom`. */
  async run<T>(work: (makeRoom: () => void) => Promise<T>): Promise<T> {
    let makeRoom = () => {};
    const room = new Promise<void>((resolve) => {
      makeRoom = resolve;
    });
    const turn = this.#last.then(() => work(makeRoom));
    turn.then(makeRoom, makeRoom);
    this.#last = room;
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
 * before is aggregated, drawn and written. The encoder gets the next slide's patches as soon as it has been given the last
 * of this one's.
 */
export class Stations {
  readonly prepare = new Station();
  readonly extract = new Station();
  readonly finish = new Station();
  /** The model, which the last two share: one reads a finished slide, one what there is of the next. */
  readonly model = new Station();
}

/** Slides on the line at the same time: as many as there are stations. */
export const SLIDES_AT_ONCE = 3;
