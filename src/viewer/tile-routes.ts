/**
 * The picture of a slide, for the page and for other viewers:
 *
 *     /api/slides/:id/tiles/:level/:column_:row.jpg            the page's tiles, level 0 is full resolution
 *     /api/slides/:id/deep-zoom.dzi, deep-zoom_files/…         Deep Zoom
 *     /api/slides/:id/iiif/info.json, iiif/{region}/{size}/…   IIIF Image API 3
 */
import type { SlideResult } from '../mil/result.ts';
import { deepZoomDescriptor } from './deep-zoom-files.ts';
import { drawImage, imageInformation, parseImageRequest } from './iiif.ts';
import { type Pictures, pictureVersion } from './pictures.ts';
import { bytesResponse, KEEP, unknownSlide, type ViewerRoutes } from './responses.ts';

const PNG = 'image/png';
const JPEG = 'image/jpeg';

export function addTileRoutes(
  app: ViewerRoutes,
  slideOf: (id: string) => SlideResult | null,
  pictures: Pictures,
): void {
  app.get('/api/slides/:id/tiles/:level/:name', async (c) => {
    const slide = slideOf(c.req.param('id'));
    if (!slide) return unknownSlide(c);
    const place = tilePlace(c.req.param('level'), c.req.param('name'), /^(\d{1,7})_(\d{1,7})\.jpg$/);
    if (!place) return c.notFound();
    const tile = await pictures.use(slide, ({ own }) => own.read(...place, c.req.raw));
    return tile ? bytesResponse(c, tile, JPEG, `${pictureVersion(slide)}-${place.join('-')}`, KEEP) : c.notFound();
  });

  app.get('/api/slides/:id/deep-zoom.dzi', async (c) => {
    const slide = slideOf(c.req.param('id'));
    if (!slide) return unknownSlide(c);
    const full = await pictures.use(slide, async ({ halving }) => halving.levels[0]!);
    return c.body(deepZoomDescriptor(full), 200, { 'content-type': 'application/xml' });
  });

  app.get('/api/slides/:id/deep-zoom_files/:level/:name', async (c) => {
    const slide = slideOf(c.req.param('id'));
    if (!slide) return unknownSlide(c);
    const place = tilePlace(c.req.param('level'), c.req.param('name'), /^(\d{1,7})_(\d{1,7})\.jpe?g$/);
    if (!place) return c.notFound();
    const [fromSmallest, column, row] = place;
    const tile = await pictures.use(slide, ({ halving }) =>
      halving.read(halving.levels.length - 1 - fromSmallest, column, row, c.req.raw),
    );
    return tile ? bytesResponse(c, tile, JPEG, `${pictureVersion(slide)}-z-${place.join('-')}`, KEEP) : c.notFound();
  });

  app.get('/api/slides/:id/iiif', (c) => c.redirect(`${c.req.path.replace(/\/$/, '')}/info.json`, 303));
  app.get('/api/slides/:id/iiif/info.json', async (c) => {
    const slide = slideOf(c.req.param('id'));
    if (!slide) return unknownSlide(c);
    const id = c.req.url.replace(/\/info\.json.*$/, '');
    const information = await pictures.use(slide, async ({ halving }) => imageInformation(id, halving));
    const linked = (c.req.header('accept') ?? '').includes('application/ld+json');
    const mime = linked ? 'application/ld+json;profile="http://iiif.io/api/image/3/context.json"' : 'application/json';
    return c.body(JSON.stringify(information), 200, { 'content-type': mime });
  });
  app.get('/api/slides/:id/iiif/:region/:size/:rotation/:quality', async (c) => {
    const slide = slideOf(c.req.param('id'));
    if (!slide) return unknownSlide(c);
    const { region, size, rotation, quality } = c.req.param();
    const parts = [region, size, rotation, quality];
    const request = parseImageRequest(parts, slide.width, slide.height);
    const picture = await pictures.use(slide, ({ halving }) => drawImage(halving, request, c.req.raw.signal));
    const tag = `${pictureVersion(slide)}-i-${encodeURIComponent(parts.join('-'))}`;
    return bytesResponse(c, picture, request.format === 'jpg' ? JPEG : PNG, tag, KEEP);
  });
}

function tilePlace(level: string, name: string, pattern: RegExp): [number, number, number] | null {
  const place = pattern.exec(name);
  return place && /^\d{1,2}$/.test(level) ? [Number(level), Number(place[1]), Number(place[2])] : null;
}
