/** CAMELYON16: metastases of breast cancer in sentinel lymph nodes. */
import { builtTable, type DataSet, filesBelow, labelTable, leftOut, stem, type TableRow } from '../data-set.ts';

/** The same model has other figures elsewhere: what features and splits make of it is larger than what models do. */
const MOMIL = 'trained by the authors of MoMIL on 395 slides; the page names no features';

export const dataSet: DataSet = {
  card: {
    name: 'CAMELYON16',
    task: 'metastasis in a lymph node section or not',
    classes: ['normal', 'tumour'],
    slides: '399 from two hospitals in the Netherlands (Radboudumc, UMC Utrecht), one of each patient',
    licence: 'CC0',
    access:
      'GigaScience or the AWS registry of open data, both linked from https://camelyon17.grand-challenge.org/Data/',
    officialSplit:
      "The organisers' training and test slides: files named normal_* and tumor_* are training, test_* test.",
    patientRule: 'Each slide is a patient of its own.',
    metrics: ['AUC', 'accuracy', 'F1', 'FROC (lesions)'],
    published: [
      {
        model: 'TransMIL',
        setting: 'as its abstract says: the highest test AUC; see there',
        figure: 'AUC 0.9309',
        source: 'https://arxiv.org/abs/2106.00908',
      },
      {
        model: 'DSMIL',
        setting: 'its own SimCLR features, 5-fold cross-validation (with a test set apart: AUC 0.915, accuracy 0.924)',
        figure: 'AUC 0.961, accuracy 0.949',
        source: 'https://github.com/binli123/dsmil-wsi',
      },
      {
        model: 'ABMIL',
        setting: MOMIL,
        figure: 'AUC 0.8073 ± 0.047, accuracy 0.7564 ± 0.052',
        source: 'https://github.com/YuqiZhang-Buaa/25',
      },
      {
        model: 'MambaMIL',
        setting: MOMIL,
        figure: 'AUC 0.7309 ± 0.111, accuracy 0.6923 ± 0.151',
        source: 'https://github.com/YuqiZhang-Buaa/25',
      },
      {
        model: 'TransMIL',
        setting: MOMIL,
        figure: 'AUC 0.8159 ± 0.092, accuracy 0.7631 ± 0.062',
        source: 'https://github.com/YuqiZhang-Buaa/25',
      },
    ],
    sources: [
      'https://camelyon17.grand-challenge.org/Data/ (licence, hospitals, downloads)',
      'https://pmc.ncbi.nlm.nih.gov/articles/PMC9659028/ (table 1: 399 slides of 399 cases)',
      'https://www.nature.com/articles/s41597-025-05586-5 (re-examined labels of CAMELYON16 and 17)',
    ],
    notes: [
      'Not checked against a source here: the names of the files, and the layout of reference.csv.',
      'Labels of the test slides are in reference.csv (slide, label in its first two columns), which comes with them.',
    ],
  },
  async build(folder) {
    const slides = await filesBelow(folder, ['.tif', '.tiff']);
    const images = slides.filter((path) => !/mask/i.test(path));
    const tests = images.some((path) => stem(path).startsWith('test_')) ? await testLabels(folder) : new Map();
    const rows: TableRow[] = [];
    let unlabelled = 0;
    for (const slide of images) {
      const name = stem(slide);
      const kind = /^(normal|tumor|test)_\d+$/i.exec(name)?.[1]?.toLowerCase();
      const label = kind === 'normal' ? 'normal' : kind === 'tumor' ? 'tumour' : kind && tests.get(name.toLowerCase());
      if (!label) unlabelled++;
      else rows.push({ slide, patient: name, label, split: kind === 'test' ? 'test' : 'train' });
    }
    return builtTable(folder, rows, leftOut(unlabelled, 'have no label'));
  },
};

/** `test_001.tif,Tumor,…`; the file has a first line in some copies and none in others. */
async function testLabels(folder: string): Promise<Map<string, string>> {
  const rows = await labelTable(folder, /reference[^/]*\.csv$/i, []);
  const found = new Map<string, string>();
  for (const row of rows) {
    for (const [name = '', label = ''] of [Object.keys(row), Object.values(row)]) {
      if (/^test_\d+/i.test(name)) found.set(stem(name).toLowerCase(), /tumor/i.test(label) ? 'tumour' : 'normal');
    }
  }
  return found;
}
