/** A folder of small bags and the table that goes with it: the label is whether the mean of the first feature is above 0. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BagMeta } from '../../src/features/bag.ts';
import { createBagWriter } from '../../src/features/store.ts';
import { createRandom, integer, normal } from '../../src/random.ts';

export interface BagPlan {
  readonly id: string;
  readonly patient?: string;
  readonly label: number;
  readonly patches?: number;
  readonly dimension?: number;
  readonly encoder?: string;
  readonly time?: number;
  readonly event?: number;
  readonly split?: string;
  readonly order?: BagMeta['order'];
  /** False leaves the places of the patches out. */
  readonly placed?: boolean;
}

export const DIMENSION = 6;

export function plans(count: number): BagPlan[] {
  return Array.from({ length: count }, (_, i) => ({ id: `s${i}`, label: i % 2 }));
}

/** @returns path of the table. */
export async function writeBagFolder(folder: string, bags: readonly BagPlan[]): Promise<string> {
  await mkdir(folder, { recursive: true });
  for (const [i, plan] of bags.entries()) {
    const {
      id,
      label,
      patches,
      dimension = DIMENSION,
      encoder = 'made-up@1',
      order = 'row-major',
      placed = true,
    } = plan;
    const random = createRandom(i + 1);
    const count = patches ?? 3 + integer(random, 20);
    const features = Float32Array.from({ length: count * dimension }, (_, k) => {
      const shift = k % dimension === 0 ? 3 * label - 1.5 : 0;
      return 100 + 20 * (normal(random) + shift);
    });
    const meta: BagMeta = {
      slideId: id,
      slideHash: `sha256:${id}`,
      mpp: 0.5,
      mppSource: 'file',
      patchMpp: 0.5,
      patchPx: 224,
      patchLevel0Px: 224,
      encoder,
      order,
      version: '0',
    };
    const writer = await createBagWriter(join(folder, `${id}.arrow`), meta, {
      dimension,
      dtype: 'f32',
      coords: placed,
    });
    const coords = Int32Array.from(
      { length: 2 * count },
      (_, k) => 224 * (k % 2 === 0 ? (k >> 1) % 5 : Math.floor((k >> 1) / 5)),
    );
    await writer.append(features, placed ? coords : null);
    await writer.finish();
  }
  const survival = bags.some(({ time }) => time !== undefined);
  const given = bags.some(({ split }) => split !== undefined);
  const lines = bags.map(({ id, patient = id, label, time, event, split }) =>
    survival
      ? `${id}.svs,${patient},${time},${event}`
      : `${id}.svs,${patient},${label ? 'high' : 'low'}${given ? `,${split ?? ''}` : ''}`,
  );
  const table = join(folder, 'cohort.csv');
  await writeFile(
    table,
    [survival ? 'slide,patient,time,event' : `slide,patient,label${given ? ',split' : ''}`, ...lines, ''].join('\n'),
  );
  return table;
}
