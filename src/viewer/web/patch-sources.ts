/** Which patches feed the chosen one in the scans of the model, as a heatmap. */
import type { Scores } from '../api.ts';
import type { ChosenPatch } from './chosen-patch.ts';
import { byId } from './element.ts';
import { askSources } from './server.ts';

const CAPTION =
  'Share of each patch in what the model’s scans hand to the outlined one: mean over layers and channels. ' +
  'Gates, skips and what layers mix among each other are left out, so it says where the patch looks, not why the model decides.';

export class PatchSources {
  private readonly chosen: ChosenPatch;
  private readonly onFound: (found: { scores: Scores; name: string; caption: string }) => void;
  private readonly complain: (error: unknown) => void;
  private running: AbortController | null = null;

  constructor(
    chosen: ChosenPatch,
    onFound: (found: { scores: Scores; name: string; caption: string }) => void,
    complain: (error: unknown) => void,
  ) {
    this.chosen = chosen;
    this.onFound = onFound;
    this.complain = complain;
    byId('sources-find').addEventListener('click', () => void this.find());
    byId('sources-cancel').addEventListener('click', () => this.cancel());
  }

  /** Another patch is chosen: what was asked is of no use any more. */
  cancel(): void {
    this.running?.abort();
  }

  private async find(): Promise<void> {
    const { current } = this.chosen;
    if (!current) return;
    this.cancel();
    const running = new AbortController();
    this.running = running;
    byId('sources-running').hidden = false;
    try {
      const { x, y } = current.patch;
      const scores = await askSources(current.slide.id, { x, y }, running.signal);
      this.onFound({ scores, name: 'What feeds the chosen patch', caption: CAPTION });
    } catch (error) {
      if (!running.signal.aborted) this.complain(error);
    } finally {
      if (this.running === running) byId('sources-running').hidden = true;
    }
  }
}
