/** Watches a run: what has come since the page looked last. Asks again and again, which needs no connection that could break. */
import type { LiveProgress, LiveView } from '../api.ts';
import { getLive } from './server.ts';

/** While slides are being worked on, and when nothing seems to happen. */
const SOON_MS = 1000;
const LATER_MS = 10_000;

export interface LiveListener {
  /** The list of slides is another one. */
  onList(): Promise<void>;
  /** A slide has more patches; with `hasScores`, prediction and scores are of more patches too. */
  onProgress(id: string, progress: LiveProgress, hasScores: boolean): void;
  /** Whether the viewer answers. */
  onContact(answers: boolean): void;
}

export class LiveRun {
  private readonly listener: LiveListener;
  private seen: LiveView | null = null;
  private answers = true;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(listener: LiveListener) {
    this.listener = listener;
    // A page that nobody sees asks nothing, and catches up when it is seen again.
    document.addEventListener('visibilitychange', () => document.visibilityState === 'visible' && this.look());
  }

  look(): void {
    clearTimeout(this.timer);
    if (document.visibilityState === 'hidden') return;
    void this.ask().finally(() => {
      clearTimeout(this.timer);
      const soon = !this.answers || (this.seen?.slides.length ?? 0) > 0;
      this.timer = setTimeout(() => this.look(), soon ? SOON_MS : LATER_MS);
    });
  }

  private async ask(): Promise<void> {
    try {
      const view = await getLive();
      const before = this.seen;
      this.seen = view;
      if (!this.answers) this.listener.onContact((this.answers = true));
      if (before && before.revision !== view.revision) await this.listener.onList();
      for (const { id, ...progress } of view.slides) {
        const former = before?.slides.find((slide) => slide.id === id);
        if (former?.done === progress.done && former.predictedPatches === progress.predictedPatches) continue;
        this.listener.onProgress(id, progress, former?.predictedPatches !== progress.predictedPatches);
      }
    } catch {
      if (this.answers) this.listener.onContact((this.answers = false));
    }
  }
}
