/** Small pictures of the slide: its thumbnail, and label and macro image where the viewer was told to show them. */
import { type SlideView, slideUrl } from '../api.ts';
import { associatedUrl } from './addresses.ts';
import { byId, element } from './element.ts';

export function showAssociated({ id, associated, hasThumbnail }: SlideView): void {
  const pictures = associated.map((name) => [name, associatedUrl(id, name)] as const);
  // What the run drew stands in for a thumbnail that the file lacks.
  const own = hasThumbnail && !associated.includes('thumbnail') ? [['thumbnail', slideUrl(id, 'thumbnail.jpg')]] : [];
  byId('associated').replaceChildren(
    ...[...own, ...pictures].map(([name, url]) => {
      const picture = element('img', '');
      picture.src = url!;
      picture.alt = '';
      picture.loading = 'lazy';
      const title = name!.charAt(0).toUpperCase() + name!.slice(1);
      const link = element('a', '', picture, element('span', 'quiet', title));
      link.href = url!;
      link.target = '_blank';
      link.ariaLabel = `${title} of the slide, in a window of its own`;
      return element('li', '', link);
    }),
  );
}
