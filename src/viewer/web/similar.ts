/** The patches of the run that are most like the chosen one, on whatever slide; a click goes there. */
import type { SimilarView } from '../api.ts';
import type { ChosenPatch } from './chosen-patch.ts';
import { byId, element } from './element.ts';
import { count } from './figures.ts';
import { type Patch, patchButton } from './patch-picture.ts';
import { askSimilar } from './server.ts';

const COUNT = 12;

export type GoTo = (slide: string, patch: Patch) => void;

export class SimilarPatches {
  private readonly chosen: ChosenPatch;
  private readonly goTo: GoTo;
  private readonly complain: (error: unknown) => void;
  private running: AbortController | null = null;

  constructor(chosen: ChosenPatch, goTo: GoTo, complain: (error: unknown) => void) {
    this.chosen = chosen;
    this.goTo = goTo;
    this.complain = complain;
    byId('similar-find').addEventListener('click', () => void this.find());
    byId('similar-cancel').addEventListener('click', () => this.running?.abort());
    byId('similar-close').addEventListener('click', () => {
      byId('similar').hidden = true;
    });
  }

  async find(): Promise<void> {
    const { current } = this.chosen;
    if (!current) return;
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    const { slide, patch } = current;
    const otherSlides = byId<HTMLInputElement>('similar-others').checked;
    byId('similar').hidden = false;
    byId('similar-running').hidden = false;
    byId('similar').scrollIntoView({ block: 'nearest' });
    this.show([], []);
    const started = performance.now();
    const show = () => {
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      byId('similar-progress').textContent = `All slides are searched … ${seconds} s`;
    };
    show();
    const clock = setInterval(show, 500);
    try {
      const view = await askSimilar(slide.id, { x: patch.x, y: patch.y, count: COUNT, otherSlides }, running.signal);
      this.present(view, slide.id, patch, otherSlides);
    } catch (error) {
      if (running.signal.aborted) this.show([element('p', 'quiet', 'Cancelled.')], []);
      else this.complain(error);
    } finally {
      clearInterval(clock);
      if (this.running === running) byId('similar-running').hidden = true;
    }
  }

  private present(view: SimilarView, slide: string, patch: Patch, otherSlides: boolean): void {
    const { searched, neighbours, seconds, refused } = view;
    const back = element('button', 'link', `the chosen patch of ${slide}`);
    back.type = 'button';
    back.addEventListener('click', () => this.goTo(slide, patch));
    const where = `${count(searched.patches)} patches on ${count(searched.slides)} slide${searched.slides === 1 ? '' : 's'}`;
    const beside = neighbours > 0 ? ` Its ${neighbours} neighbours are left out.` : '';
    const said: Node[] = [
      element(
        'p',
        'quiet',
        'Most like ',
        back,
        ` of ${where}, in ${seconds.toFixed(1)} s.${otherSlides ? '' : beside}`,
      ),
      element(
        'p',
        'quiet',
        'Figures are cosines of the encoder’s features: likeness as the encoder sees it, no diagnosis.',
      ),
    ];
    if (refused.length > 0) {
      const list = element('ul', '', ...refused.map((sentence) => element('li', '', sentence)));
      const title = `${count(refused.length)} slide${refused.length === 1 ? ' was' : 's were'} not searched`;
      said.push(element('details', 'note', element('summary', '', title), list));
    }
    const items = view.patches.map((found) => {
      const likeness = found.similarity.toFixed(3);
      const button = patchButton(found.slide, found, 'of the server', likeness, found.slide);
      button.title = `Go to this patch of ${found.slide}`;
      button.addEventListener('click', () => this.goTo(found.slide, found));
      return element('li', '', button);
    });
    this.show(said, items);
  }

  private show(said: readonly Node[], items: readonly Node[]): void {
    byId('similar-result').replaceChildren(...said);
    byId('similar-list').replaceChildren(...items);
  }
}
