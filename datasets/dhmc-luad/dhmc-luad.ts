/** DHMC: growth patterns of lung adenocarcinoma. */
import { builtTable, type DataSet, filesBelow, labelTable, leftOut, stem, type TableRow } from '../data-set.ts';

export const dataSet: DataSet = {
  card: {
    name: 'DHMC-LUAD',
    task: 'predominant growth pattern of a lung adenocarcinoma',
    classes: ['Acinar', 'Lepidic', 'Micropapillary', 'Papillary', 'Solid'],
    slides: '143',
    licence: 'Asked for with the download; its wording was not found in a source here',
    access: 'https://bmirds.github.io/LungCancer/: slides and MetaData_Release_1.0.csv after a request',
    officialSplit: 'None: the 143 slides were the test set of the paper that published them.',
    patientRule: 'Each slide is a patient of its own.',
    metrics: ['accuracy', 'F1 (macro)', 'kappa'],
    published: [
      {
        model: 'patch classifier, thresholds (Wei et al. 2019)',
        setting: 'trained on other slides with drawn regions',
        figure: 'kappa 0.525 and agreement 66.6 % with three pathologists',
        source: 'https://pmc.ncbi.nlm.nih.gov/articles/PMC6399447',
      },
    ],
    sources: ['https://pmc.ncbi.nlm.nih.gov/articles/PMC6399447 (143 slides, figures)'],
    notes: [
      'Not checked against a source here: the address, the licence, the file of labels and its columns.',
      'The table is read by its columns "File Name" and "Class".',
    ],
  },
  async build(folder) {
    const table = await labelTable(folder, /meta[^/]*\.csv$/i, ['File Name', 'Class']);
    const labels = new Map(table.map((row) => [stem(row['File Name']!), row.Class!]));
    const rows: TableRow[] = [];
    let unlabelled = 0;
    for (const slide of await filesBelow(folder, ['.tif', '.tiff', '.svs'])) {
      const label = labels.get(stem(slide));
      if (!label) unlabelled++;
      else rows.push({ slide, patient: stem(slide), label });
    }
    return builtTable(folder, rows, leftOut(unlabelled, 'are not in the table of labels'));
  },
};
