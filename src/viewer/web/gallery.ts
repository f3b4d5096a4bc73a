/** The patches with the highest, the lowest, or any scores, as small pictures; a click flies there. */
import { type Scores, slideUrl } from '../api.ts';
import { byId, element } from './element.ts';
import { figure } from './figures.ts';

const COUNT = 12;
const PICTURE_PX = 96;

export type Pick = 'highest' | 'lowest' | 'random';

export class Gallery {
  private readonly list = byId('gallery-list');
  private readonly pick = byId<HTMLSelectElement>('gallery-pick');
  private readonly onChoose: (x: number, y: number, side: number) => void;
  private shown: { id: string; scores: Scores; side: number; hasPicture: boolean } | null = null;

  constructor(onChoose: (x: number, y: number, side: number) => void) {
    this.onChoose = onChoose;
    this.pick.addEventListener('change', () => this.draw());
  }

  show(id: string, scores: Scores | null, side: number, hasPicture: boolean): void {
    this.shown = scores && { id, scores, side, hasPicture };
    byId('gallery').hidden = !scores?.values.length;
    this.draw();
  }

  private draw(): void {
    this.list.replaceChildren();
    if (!this.shown) return;
    const { id, scores, side, hasPicture } = this.shown;
    const patches = picked(scores.values, this.pick.value as Pick, COUNT);
    this.list.append(
      ...patches.map((patch, i) => {
        const [x, y] = [scores.coords[2 * patch]!, scores.coords[2 * patch + 1]!];
        const score = figure(scores.values[patch]!);
        const button = element('button', 'patch');
        button.type = 'button';
        button.ariaLabel = `Patch ${i + 1}, score ${score}: go there`;
        if (hasPicture && x >= 0 && y >= 0) {
          const picture = element('img', '');
          const region = `${x},${y},${Math.round(side)},${Math.round(side)}`;
          const size = Math.min(PICTURE_PX, Math.round(side));
          picture.src = slideUrl(id, `iiif/${region}/!${size},${size}/0/default.jpg`);
          picture.alt = '';
          picture.loading = 'lazy';
          button.append(picture);
        }
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
