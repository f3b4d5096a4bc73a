/** A synthetic H&E slide with known truth: a cartoon that a pathologist recognises, in a file that a scanner might have written. */
import { rename, writeFile } from 'node:fs/promises';
import type { Feature, FeatureCollection, Polygon } from 'geojson';
import type { Level0Px, Mpp } from '../../src/units.ts';
import { type Artefact, withArtefacts } from './artefacts.ts';
import { area, corners, type Outline } from './outline.ts';
import { createPainter, type Stain } from './paint.ts';
import { createPyramid, TILE } from './pyramid.ts';
import { createScene, emptyScene } from './scene.ts';

export interface SyntheticSlideOptions {
  readonly seed: number;
  readonly widthPx: Level0Px;
  readonly heightPx: Level0Px;
  /** 0.5 unless given. */
  readonly mpp?: Mpp;
  readonly tumour: boolean;
  readonly stain?: Stain;
  /** What went wrong with it; nothing unless given. `empty`: glass without tissue, and so without tumour. */
  readonly artefacts?: readonly Artefact[];
}

/** A closed ring is not repeated at its end. Level-0 px. */
export type Ring = [Level0Px, Level0Px][];

export interface SyntheticTruth {
  readonly slide: string;
  /** The nests as QuPath annotations; an empty collection when there are none. */
  readonly geojson: string;
  readonly widthPx: Level0Px;
  readonly heightPx: Level0Px;
  readonly mpp: Mpp;
  readonly tumour: boolean;
  readonly nests: readonly Ring[];
  readonly tissue: readonly Ring[];
  /** Share of the tissue that the nests fill. */
  readonly tumourShare: number;
}

export const DEFAULT_STAIN: Stain = {
  haematoxylin: [0.92, 1.02, 0.5],
  eosin: [0.09, 0.5, 0.27],
  glass: [243, 242, 245],
};

/** Writes `path` and, beside it, its truth as `.geojson`. The same options give the same bytes. */
export async function writeSyntheticSlide(path: string, options: SyntheticSlideOptions): Promise<SyntheticTruth> {
  const { widthPx, heightPx, mpp = 0.5, stain = DEFAULT_STAIN, artefacts = [] } = options;
  const whole = createScene({ ...options, mpp });
  const scene = artefacts.includes('empty') ? emptyScene(whole) : whole;
  const painter = withArtefacts(createPainter(scene, stain, TILE), artefacts, { ...options, mpp });
  const description = describe(options.seed, widthPx, heightPx, mpp);
  const pyramid = await createPyramid(path, { width: widthPx, height: heightPx, mpp, description, quality: QUALITY });
  try {
    for (let top = 0; top < heightPx; top += TILE)
      await pyramid.append(painter.paint(top, Math.min(TILE, heightPx - top)));
    await pyramid.finish();
  } finally {
    await pyramid.abort();
  }

  const geojson = path.replace(/(\.[^./\\]*)?$/, '.geojson');
  await writeFile(`${geojson}.partial`, `${JSON.stringify(annotations(scene.nests), null, 1)}\n`);
  await rename(`${geojson}.partial`, geojson);
  const total = (outlines: readonly Outline[]) => outlines.reduce((sum, outline) => sum + area(outline), 0);
  return {
    slide: path,
    geojson,
    widthPx,
    heightPx,
    mpp,
    tumour: scene.nests.length > 0,
    nests: scene.nests.map((nest) => corners(nest)),
    tissue: scene.tissue.map((piece) => corners(piece)),
    tumourShare: scene.nests.length > 0 ? total(scene.nests) / total(scene.tissue) : 0,
  };
}

const QUALITY = 80;

function describe(seed: number, width: number, height: number, mpp: Mpp): string {
  const frame = `${width}x${height} [0,0 ${width}x${height}] (${TILE}x${TILE}) JPEG/YCC Q=${QUALITY}`;
  const power = Number((10 / mpp).toPrecision(3));
  return `Aperio Image Library (Lamina synthetic slide)\r\n${frame}|AppMag = ${power}|MPP = ${mpp.toFixed(4)}|Seed = ${seed}`;
}

/** QuPath reads this file dropped onto the slide. */
function annotations(nests: readonly Outline[]): FeatureCollection<Polygon> {
  const features = nests.map((nest): Feature<Polygon> => {
    const ring = corners(nest).map((corner) => corner.map((value) => Math.round(value * 10) / 10));
    return {
      type: 'Feature',
      geometry: { type: 'Polygon', coordinates: [[...ring, ring[0]!]] },
      properties: { objectType: 'annotation', classification: { name: 'Tumor', color: [200, 0, 0] } },
    };
  });
  return { type: 'FeatureCollection', features };
}
