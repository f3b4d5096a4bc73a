/** The public data sets by name; each is read only when asked for. */
import type { DataSet } from './data-set.ts';

const sets: Readonly<Record<string, () => Promise<{ readonly dataSet: DataSet }>>> = {
  camelyon16: () => import('./camelyon16/camelyon16.ts'),
  camelyon17: () => import('./camelyon17/camelyon17.ts'),
  'tcga-nsclc': () => import('./tcga-nsclc/tcga-nsclc.ts'),
  'tcga-brca': () => import('./tcga-brca/tcga-brca.ts'),
  bracs: () => import('./bracs/bracs.ts'),
  panda: () => import('./panda/panda.ts'),
  'dhmc-luad': () => import('./dhmc-luad/dhmc-luad.ts'),
  ebrains: () => import('./ebrains/ebrains.ts'),
};

export const dataSetNames: readonly string[] = Object.keys(sets);

export type { DataSet } from './data-set.ts';

export async function openDataSet(name: string): Promise<DataSet> {
  return (await sets[name]!()).dataSet;
}
