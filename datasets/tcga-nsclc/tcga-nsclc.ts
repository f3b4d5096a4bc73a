/** TCGA lung cancer: adenocarcinoma against squamous cell carcinoma. */
import type { DataSet } from '../data-set.ts';
import { buildTcga, TCGA_PATIENTS, TCGA_SOURCES, TCGA_SPLIT } from '../tcga.ts';

export const dataSet: DataSet = {
  card: {
    name: 'TCGA-NSCLC',
    task: 'adenocarcinoma (LUAD) or squamous cell carcinoma (LUSC) of the lung',
    classes: ['LUAD', 'LUSC'],
    slides:
      '1053 diagnostic slides of the projects TCGA-LUAD (541) and TCGA-LUSC (512), as others counted them; the portal changes. Count yours with `lamina cohort check`',
    licence: 'Open access under the GDC data use policy; citing TCGA is asked for',
    access:
      'https://portal.gdc.cancer.gov, projects TCGA-LUAD and TCGA-LUSC, data type Slide Image, strategy Diagnostic Slide; one folder for each project',
    officialSplit: TCGA_SPLIT,
    patientRule: TCGA_PATIENTS,
    metrics: ['AUC', 'accuracy', 'F1'],
    published: [
      {
        model: 'TransMIL',
        setting: 'as its abstract says: the highest test AUC; see there',
        figure: 'AUC 0.9603',
        source: 'https://arxiv.org/abs/2106.00908',
      },
      {
        model: 'DSMIL',
        setting: 'its own SimCLR features, 5-fold cross-validation',
        figure: 'AUC 0.981, accuracy 0.9378',
        source: 'https://github.com/binli123/dsmil-wsi',
      },
      {
        model: 'Mamba2MIL',
        setting: 'as its abstract says; see there',
        figure: 'AUC 0.9533, accuracy 0.8794',
        source: 'https://arxiv.org/abs/2408.15032',
      },
    ],
    sources: [...TCGA_SOURCES, 'https://github.com/binli123/dsmil-wsi (README: 541 and 512 slides)'],
    notes: [
      'Not checked against a source here: the wording of the licence. DSMIL, the source of the counts, leaves out 10 slides of LUAD for their quality.',
      "Let LUAD or LUSC be part of a folder's name: barcodes do not say the project.",
    ],
  },
  build: (folder) =>
    buildTcga(folder, (path) => {
      const folders = path.split('/').slice(0, -1).join('/');
      const [luad, lusc] = [/luad/i.test(folders), /lusc/i.test(folders)];
      return luad === lusc ? null : luad ? 'LUAD' : 'LUSC';
    }),
};
