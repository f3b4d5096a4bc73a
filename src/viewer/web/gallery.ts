/** The patches with the highest, the lowest, or any scores, as small pictures; a click flies there. */
import type { Picture, Scores } from '../api.ts';
import { byId, element } from './element.ts';
import { figure } from './figures.ts';
import { patchPicture } from './patch-picture.ts';

const COUNT = 12;

export type Pick = 'highest' | 'lowest' | 'random';

export class Gallery {
  private readonly list = byId('gallery-list');
  private readonly pick = byId<HTMLSelectElement>('gallery-pick');
  private readonly onChoose: (x: number, y: number, side: number) => void;
  private shown: { id: string; scores: Scores; side: number; picture: Picture | null } | null = null;

  constructor(onChoose: (x: number, y: number, side: number) => void) {
    this.onChoose = onChoose;
    this.pick.addEventListener('change', () => this.draw());
  }

  show(id: string, scores: Scores | null, side: number, picture: Picture | null): void {
    this.shown = scores && { id, scores, side, picture };
    byId('gallery').hidden = !scores?.values.length;
    this.draw();
  }

  private draw(): void {
    this.list.replaceChildren();
    if (!this.shown) return;
    const { id, scores, side, picture } = this.shown;
    const patches = picked(scores.values, this.pick.value as Pick, COUNT);
    this.list.append(
      ...patches.map((patch, i) => {
        const [x, y] = [scores.coords[2 * patch]!, scores.coords[2 * patch + 1]!];
        const score = figure(scores.values[patch]!);
        const button = element('button', 'patch');
        button.type = 'button';
        button.ariaLabel = `Patch ${i + 1}, score ${score}: go there`;
        if (picture && x >= 0 && y >= 0) button.append(patchPicture(id, picture, x, y, side));
        button.append(element('span', 'share', score));
        button.addEventListener('click', () => this.onChoose(x, y, side));
        return element('li', '', button);
      }),
    );
  }
}

/** Rows of the patches to show, of those that have a score. Random ones are spread evenly over the rows: the same each time. */
export function picked(values: Float32Array, pick: Pick, count: number): number[] {
  const rows = [...values.keys()].filter((row) => !Number.isNaN(values[row]));
  if (pick === 'random') {
    const step = rows.length / Math.min(count, rows.length);
    return Array.from({ length: Math.min(count, rows.length) }, (_, i) => rows[Math.floor((i + 0.5) * step)]!);
  }
  const sign = pick === 'highest' ? -1 : 1;
  return rows.sort((a, b) => sign * (values[a]! - values[b]!) || a - b).slice(0, count);
}
