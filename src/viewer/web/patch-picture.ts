/** A square of the slide as a small picture: cut out by the server, or in a bundle put together from the tiles it lies on. */
import { type Picture, slideUrl, tileUrl } from '../api.ts';
import { isBundle } from './bundle.ts';
import { element } from './element.ts';

/** A square of a slide, by its top-left corner in level-0 px. */
export interface Patch {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

const PICTURE_PX = 96;

/** @param picture of the slide, which a server knows by itself */
export function patchPicture(id: string, patch: Patch, picture: Picture | null): HTMLElement {
  if (isBundle && picture) return fromTiles(id, picture, patch);
  const { x, y, side } = patch;
  const made = element('img', '');
  const region = `${x},${y},${Math.round(side)},${Math.round(side)}`;
  const size = Math.min(PICTURE_PX, Math.round(side));
  made.src = slideUrl(id, `iiif/${region}/!${size},${size}/0/default.jpg`);
  made.alt = '';
  made.loading = 'lazy';
  return made;
}

/** A patch as a button with words below it; without a picture where it lies over the edge of the slide, or the slide has none. */
export function patchButton(
  id: string,
  patch: Patch,
  picture: Picture | 'of the server' | null,
  ...words: readonly string[]
) {
  const button = element('button', 'patch');
  button.type = 'button';
  if (picture && patch.x >= 0 && patch.y >= 0) {
    button.append(patchPicture(id, patch, picture === 'of the server' ? null : picture));
  }
  button.append(...words.map((word) => element('span', 'share', word)));
  return button;
}

/** From the coarsest level that has all the pixels that are shown. */
function fromTiles(id: string, picture: Picture, { x, y, side }: Patch): HTMLCanvasElement {
  const canvas = element('canvas', '');
  canvas.width = PICTURE_PX;
  canvas.height = PICTURE_PX;
  const level = Math.max(
    0,
    picture.levels.findLastIndex(({ scaleX }) => scaleX <= side / PICTURE_PX),
  );
  const { width, height, scaleX, scaleY, tileWidth, tileHeight } = picture.levels[level]!;
  const context = canvas.getContext('2d')!;
  context.imageSmoothingQuality = 'high';
  context.scale((PICTURE_PX * scaleX) / side, (PICTURE_PX * scaleY) / side);
  context.translate(-x / scaleX, -y / scaleY);
  const [right, bottom] = [Math.min(width, (x + side) / scaleX), Math.min(height, (y + side) / scaleY)];
  for (let row = Math.floor(y / scaleY / tileHeight); row * tileHeight < bottom; row++) {
    for (let column = Math.floor(x / scaleX / tileWidth); column * tileWidth < right; column++) {
      const tile = new Image();
      tile.src = tileUrl(id, picture, level, column, row);
      const draw = () => context.drawImage(tile, column * tileWidth, row * tileHeight);
      tile.decode().then(draw, () => {}); // what cannot be read stays blank, as in the picture
    }
  }
  return canvas;
}
