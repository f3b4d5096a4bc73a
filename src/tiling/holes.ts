/** Where a slide cannot be read, in the coordinates that everything else uses. */
import type { Level0Px } from '../units.ts';
import type { Slide } from './slide.ts';

export interface Level0Rectangle {
  readonly x: Level0Px;
  readonly y: Level0Px;
  readonly width: Level0Px;
  readonly height: Level0Px;
}

/** The bad tiles met so far, of whatever level, rounded outwards to whole pixels and cut to the slide; each place once. */
export function holesOf({ levels, unreadable }: Pick<Slide, 'levels' | 'unreadable'>): Level0Rectangle[] {
  const { width, height } = levels[0]!;
  const found = unreadable.map(({ level, column, row }) => {
    const { tileWidth, tileHeight, ...size } = levels[level]!;
    const [across, down] = [width / size.width, height / size.height];
    const x = Math.floor(column * tileWidth * across);
    const y = Math.floor(row * tileHeight * down);
    const right = Math.min(width, Math.ceil((column + 1) * tileWidth * across));
    const bottom = Math.min(height, Math.ceil((row + 1) * tileHeight * down));
    return { x, y, width: right - x, height: bottom - y };
  });
  return [...new Map(found.map((hole) => [Object.values(hole).join(), hole])).values()];
}
