/** The Digital Brain Tumour Atlas of EBRAINS. */
import { builtTable, type DataSet, filesBelow, labelTable, leftOut, stem, type TableRow } from '../data-set.ts';

export const dataSet: DataSet = {
  card: {
    name: 'EBRAINS, Digital Brain Tumour Atlas',
    task: 'type of a brain tumour',
    classes: ['the values of the column diagnosis'],
    slides: '3115 (2880 of brain tumours), as the paper counts them; count yours with `lamina cohort check`',
    licence: 'The EBRAINS data use agreement, to be accepted with the download',
    access: 'https://search.kg.ebrains.eu, "The Digital Brain Tumour Atlas": slides (.ndpi) and annotation.csv',
    officialSplit: 'None.',
    patientRule: 'The column pat_id of annotation.csv.',
    metrics: ['balanced accuracy', 'F1 (weighted)'],
    published: [],
    sources: ['https://www.nature.com/articles/s41597-022-01157-0'],
    notes: [
      'Not checked against a source here: the counts, the licence, and the columns of annotation.csv.',
      'Many diagnoses have few slides: `lamina cohort check` names them. Merge or drop them before training.',
    ],
  },
  async build(folder) {
    const table = await labelTable(folder, /annotation[^/]*\.csv$/i, ['uuid', 'pat_id', 'diagnosis']);
    const known = new Map(table.map((row) => [row.uuid!, row]));
    const rows: TableRow[] = [];
    let unlabelled = 0;
    for (const slide of await filesBelow(folder, ['.ndpi'])) {
      const row = known.get(stem(slide));
      if (!row) unlabelled++;
      else rows.push({ slide, patient: row.pat_id!, label: row.diagnosis! });
    }
    return builtTable(folder, rows, leftOut(unlabelled, 'are not in annotation.csv'));
  },
};
