/**
 * Aperio SVS: a TIFF file whose tiled pages are the levels and whose stripped pages are the thumbnail (always the second
 * page), the label and the macro picture. The first page's description holds `key = value` pairs between bars.
 */
import { scaleOf } from './physical-scale.ts';
import { pyramidOf } from './pyramid.ts';
import type { SlideFormat } from './slide-format.ts';
import type { TiffPage } from './tiff-file.ts';
import { canRead, checkWhole, tiffTiles } from './tiff-tiles.ts';
import { createTiledSlide } from './tiled-slide.ts';

export const aperioSvs: SlideFormat = {
  name: 'aperio-svs',

  async recognises(candidate) {
    const first = (await candidate.tiffPages())?.[0];
    return first?.tiled === true && first.description.startsWith('Aperio');
  },

  async open(candidate, given) {
    const { source } = candidate;
    const pages = (await candidate.tiffPages())!;
    const properties = aperioProperties(pages[0]!.description);
    const objectivePower = positive(properties['aperio.AppMag']);
    const levels = pyramidOf(pages);
    checkWhole(source, levels[0]!);
    const associated = new Map(
      pages.flatMap((page, index) => {
        const name = page.tiled ? null : associatedName(page, index);
        return name && canRead(page) ? [[name, tiffTiles(source, page)] as const] : [];
      }),
    );
    return createTiledSlide(source, {
      format: 'aperio-svs',
      vendor: 'aperio',
      scale: scaleOf(source.name, given, positive(properties['aperio.MPP']), objectivePower),
      objectivePower,
      properties,
      levels: levels.map((page) => tiffTiles(source, page)),
      associated,
    });
  },
};

/** The pairs after the first bar, as `aperio.<key>`; the line before it, which names the program and the geometry, as `description`. */
function aperioProperties(description: string): Record<string, string> {
  const [header = '', ...pairs] = description.split('|');
  const properties: Record<string, string> = { description: header.trim() };
  for (const pair of pairs) {
    const equals = pair.indexOf('=');
    if (equals > 0) properties[`aperio.${pair.slice(0, equals).trim()}`] = pair.slice(equals + 1).trim();
  }
  return properties;
}

/** `label 387x463` on the second line of the description; newer scanners leave it out and mark the page by its subfile type. */
function associatedName(page: TiffPage, index: number): string | null {
  const named = /^(label|macro)\b/m.exec(page.description)?.[1];
  if (named) return named;
  if (index === 1) return 'thumbnail';
  return page.subfileType === 1 ? 'label' : page.subfileType === 9 ? 'macro' : null;
}

function positive(text: string | undefined): number | null {
  const number = Number(text);
  return text !== undefined && number > 0 ? number : null;
}
