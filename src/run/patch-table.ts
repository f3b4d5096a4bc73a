/** `coords.arrow`: the patches of a slide as a table, for any reader of Arrow files. */
import { makeVector, Table, tableToIPC } from 'apache-arrow';
import type { PatchGrid } from '../tiling/grid.ts';
import type { GridMeasures } from './survey.ts';

/** What is said of the whole table, as JSON under `lamina.patches` in its metadata. */
export interface PatchTableMeta {
  readonly slideId: string;
  readonly slideHash: string;
  /** Micrometres per level-0 pixel. */
  readonly mpp: number | null;
  readonly mppSource: string;
  readonly patchPx: number;
  readonly patchMpp: number | null;
  readonly patchLevel0Px: number;
  readonly strideLevel0Px: number;
  readonly order: string;
  readonly version: string;
}

const META_KEY = 'lamina.patches';

/**
 * One row a patch, in the order of the grid: `x`, `y` (int32, level-0 px of the top-left corner), `row`, `column` (int32, its cell),
 * and as f32 `tissue`, `focus`, `pen`, `saturation`, `missing`.
 */
export function patchTable(grid: PatchGrid, measures: GridMeasures, meta: PatchTableMeta): Uint8Array {
  const table = new Table({
    x: makeVector(everySecond(grid.coords, 0)),
    y: makeVector(everySecond(grid.coords, 1)),
    row: makeVector(everySecond(grid.cells, 0)),
    column: makeVector(everySecond(grid.cells, 1)),
    tissue: makeVector(grid.tissue),
    focus: makeVector(measures.focus),
    pen: makeVector(measures.pen),
    saturation: makeVector(measures.saturation),
    missing: makeVector(measures.missing),
  });
  table.schema.metadata.set(META_KEY, JSON.stringify(meta));
  return tableToIPC(table, 'file');
}

function everySecond(pairs: Int32Array, first: 0 | 1): Int32Array {
  return Int32Array.from({ length: pairs.length / 2 }, (_, i) => pairs[2 * i + first]!);
}
