/** The patches with the highest, the lowest, or any scores, as small pictures; a click flies there. */
import type { Picture, Scores } from '../api.ts';
import { byId, element } from './element.ts';
import { figure } from './figures.ts';
import { type Patch, patchButton } from './patch-picture.ts';

const COUNT = 12;

export type Pick = 'highest' | 'lowest' | 'random';

interface Shown {
  readonly id: string;
  readonly scores: Scores;
  readonly side: number;
  readonly picture: Picture | null;
}

export class Gallery {
  private readonly list = byId('gallery-list');
  private readonly pick = byId<HTMLSelectElement>('gallery-pick');
  private readonly onChoose: (patch: Patch) => void;
  private shown: Shown | null = null;
  private drawn = '';

  constructor(onChoose: (patch: Patch) => void) {
    this.onChoose = onChoose;
    this.pick.addEventListener('change', () => this.draw());
  }

  show(id: string, scores: Scores | null, side: number, picture: Picture | null): void {
    this.shown = scores && { id, scores, side, picture };
    byId('gallery').hidden = !scores?.values.length;
    this.draw();
  }

  private draw(): void {
    const { shown } = this;
    const patches = shown ? picked(shown.scores.values, this.pick.value as Pick, COUNT) : [];
    // A slide under way has new scores every second; pictures that stay are not loaded again.
    const key = JSON.stringify([shown?.id, patches.map((row) => [placeOf(shown!, row), shown!.scores.values[row]])]);
    if (key === this.drawn) return;
    this.drawn = key;
    this.list.replaceChildren(
      ...patches.map((row, i) => {
        const { id, scores, picture } = shown!;
        const patch = placeOf(shown!, row);
        const score = figure(scores.values[row]!);
        const button = patchButton(id, patch, picture, score);
        button.ariaLabel = `Patch ${i + 1}, score ${score}: go there`;
        button.addEventListener('click', () => this.onChoose(patch));
        return element('li', '', button);
      }),
    );
  }
}

function placeOf({ scores, side }: Shown, row: number): Patch {
  return { x: scores.coords[2 * row]!, y: scores.coords[2 * row + 1]!, side };
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
