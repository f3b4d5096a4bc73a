/** Open slides, kept between requests: opening reads a file's whole directory, a viewer asks for hundreds of tiles of one slide. */
import type { SlideResult } from '../mil/result.ts';
import { openSlide } from '../tiling/open-slide.ts';
import type { Slide } from '../tiling/slide.ts';

interface Opened {
  readonly slide: Promise<Slide>;
  /** Requests that work with it now. */
  users: number;
}

export class SlidePool {
  /** Least recently used first. */
  private readonly opened = new Map<string, Opened>();
  private readonly limit: number;

  /** At most `limit` idle slides stay open. */
  constructor(limit = 8) {
    this.limit = limit;
  }

  /** Lends a slide of the run for the time of `work`. A slide that cannot be opened is tried again next time. */
  async use<T>({ source, mpp }: SlideResult, work: (slide: Slide) => Promise<T>): Promise<T> {
    // The scale was settled by the run; what the file says, even nonsense, no longer matters.
    const entry = this.opened.get(source) ?? { slide: openSlide(source, { mpp: mpp ?? undefined }), users: 0 };
    this.opened.delete(source);
    this.opened.set(source, entry);
    entry.users++;
    try {
      return await work(await this.opening(source, entry));
    } finally {
      entry.users--;
      await this.closeIdle();
    }
  }

  /** Waits for no one: closes what is open. */
  async close(): Promise<void> {
    const all = [...this.opened.values()];
    this.opened.clear();
    await Promise.allSettled(all.map(async ({ slide }) => (await slide).close()));
  }

  private async opening(source: string, entry: Opened): Promise<Slide> {
    try {
      return await entry.slide;
    } catch (error) {
      if (this.opened.get(source) === entry) this.opened.delete(source);
      throw error;
    }
  }

  private async closeIdle(): Promise<void> {
    for (const [source, entry] of this.opened) {
      if (this.opened.size <= this.limit) return;
      if (entry.users > 0) continue;
      this.opened.delete(source);
      await entry.slide.then((slide) => slide.close()).catch(() => {});
    }
  }
}
