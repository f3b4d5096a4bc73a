/** How often the nearest of the other tiles is of the same class. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';

export interface Labelled {
  readonly label: string;
}

/** So many pictures of a class are enough. */
const MOST = 12;

/** The first pictures of each class below a folder of one folder a class. */
export function labelledTiles(folder: string): { label: string; path: string }[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: label }) =>
      readdirSync(join(folder, label))
        .filter((name) => /\.(png|jpe?g|tiff?)$/.test(name))
        .slice(0, MOST)
        .map((name) => ({ label, path: join(folder, label, name) })),
    );
}

/** Leave-one-out: the share of tiles whose most similar other tile is of their class. */
export function nearestInClass<T extends Labelled>(tiles: readonly T[], similarity: (a: T, b: T) => number): number {
  const right = tiles.filter((tile) => {
    const others = tiles.filter((other) => other !== tile);
    const nearest = others.reduce((best, other) => (similarity(other, tile) > similarity(best, tile) ? other : best));
    return nearest.label === tile.label;
  });
  return right.length / tiles.length;
}

/** The share that neighbours drawn blindly reach, and two standard deviations more. */
export function aboveChance(tiles: readonly Labelled[]): number {
  const same = tiles.reduce((sum, { label }) => sum + tiles.filter((other) => other.label === label).length - 1, 0);
  const chance = same / (tiles.length * (tiles.length - 1));
  return chance + 2 * Math.sqrt((chance * (1 - chance)) / tiles.length);
}
