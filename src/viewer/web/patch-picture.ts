/** Small pictures of patches. */
import { slideUrl } from '../api.ts';
import { element } from './element.ts';

/** A square of a slide, in level-0 px. */
export interface Patch {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

const PICTURE_PX = 96;

/** Null for a patch that lies over the slide's edge at its top or left: the server gives no picture of it. */
export function patchPicture(slide: string, { x, y, side }: Patch): HTMLImageElement | null {
  if (x < 0 || y < 0) return null;
  const picture = element('img', '');
  const region = `${x},${y},${Math.round(side)},${Math.round(side)}`;
  const size = Math.min(PICTURE_PX, Math.round(side));
  picture.src = slideUrl(slide, `iiif/${region}/!${size},${size}/0/default.jpg`);
  picture.alt = '';
  picture.loading = 'lazy';
  return picture;
}

/** A patch as a button with words below it. */
export function patchButton(slide: string, patch: Patch, hasPicture: boolean, ...words: readonly string[]) {
  const button = element('button', 'patch');
  button.type = 'button';
  const picture = hasPicture ? patchPicture(slide, patch) : null;
  if (picture) button.append(picture);
  button.append(...words.map((word) => element('span', 'share', word)));
  return button;
}
