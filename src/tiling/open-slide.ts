/** Finds the format of a slide and opens it. */
import { stat } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { aperioSvs } from './aperio-svs.ts';
import { openByteSource } from './byte-source.ts';
import { deepZoom, deepZoomOfFolder } from './deep-zoom.ts';
import { dicom, openDicomFolder } from './dicom.ts';
import { hamamatsuNdpi } from './hamamatsu-ndpi.ts';
import { leicaScn } from './leica-scn.ts';
import { omeTiff } from './ome-tiff.ts';
import { openslide } from './openslide.ts';
import { philipsTiff } from './philips-tiff.ts';
import type { GivenScale } from './physical-scale.ts';
import { picture } from './picture.ts';
import type { Slide } from './slide.ts';
import type { Candidate, SlideFormat } from './slide-format.ts';
import { tiff } from './tiff.ts';
import { isTiff, readTiffPages, type TiffPage } from './tiff-file.ts';
import { ventanaBif } from './ventana-bif.ts';

/** The particular before the general: the first that recognises a file opens it. */
const formats: readonly SlideFormat[] = [
  hamamatsuNdpi,
  aperioSvs,
  philipsTiff,
  leicaScn,
  ventanaBif,
  omeTiff,
  dicom,
  deepZoom,
  openslide,
  tiff,
  picture,
];

/**
 * Opens a slide: a file, an address, a folder of DICOM files or one of Deep Zoom. Close it when done.
 *
 * @throws UserError if the file is missing, empty, cut off, of no known format, or of an implausible scale.
 */
export async function openSlide(pathOrUrl: string, given: GivenScale = {}): Promise<Slide> {
  if (await isFolder(pathOrUrl)) {
    const descriptor = await deepZoomOfFolder(pathOrUrl);
    return descriptor ? openSlide(descriptor, given) : openDicomFolder(pathOrUrl, given);
  }
  const source = await openByteSource(pathOrUrl);
  try {
    const head = await source.read(0, Math.min(source.length, 256));
    let pages: Promise<readonly TiffPage[] | null> | undefined;
    const candidate: Candidate = {
      source,
      head,
      tiffPages: () => (pages ??= isTiff(head) ? readTiffPages(source) : Promise.resolve(null)),
    };
    for (const format of formats) {
      if (await format.recognises(candidate)) return await format.open(candidate, given);
    }
    throw new UserError(
      'not-a-slide',
      `${pathOrUrl} is not a slide of a known format (${formats.map(({ name }) => name).join(', ')}).`,
      'Name a slide file, or convert this one to a pyramidal TIFF.',
    );
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => null))?.isDirectory() ?? false;
}
