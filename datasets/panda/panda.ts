/** PANDA: grades of prostate biopsies. */
import { builtTable, type DataSet, filesBelow, labelTable, leftOut, stem, type TableRow } from '../data-set.ts';

export const dataSet: DataSet = {
  card: {
    name: 'PANDA',
    task: 'ISUP grade of a prostate biopsy, 0 (no cancer) to 5',
    classes: ['0', '1', '2', '3', '4', '5'],
    slides: '10,616 with labels, of two centres (Radboud, Karolinska), 0.5 um/px at level 0',
    licence: 'CC BY-NC-SA, as an organiser announced it; the rules of the challenge are to be accepted on its page',
    access: 'https://www.kaggle.com/competitions/prostate-cancer-grade-assessment: train_images and train.csv',
    officialSplit: 'None that is public: the test slides stay with the organisers.',
    patientRule: 'Not published: several biopsies may be of one patient. Figures of a random split may be too good.',
    metrics: ['quadratic kappa', 'balanced accuracy'],
    published: [],
    sources: [
      'https://kaiko-ai.github.io/eva/dev/datasets/panda (counts, folders, scale, noisy labels)',
      'https://wouterbulten.nl/posts/improve-prostate-cancer-diagnosis-panda-challenge (licence, centres)',
    ],
    notes: [
      'Not checked against a source here: the columns of train.csv, and that patients are not published.',
      'The labels are noisy; others leave out about a tenth after the list of a participant (9555 slides remain). That list is not applied here.',
      'Evaluate with --ordered: the classes are grades.',
    ],
  },
  async build(folder) {
    const table = await labelTable(folder, /(^|\/)train\.csv$/, ['image_id', 'data_provider', 'isup_grade']);
    const known = new Map(table.map((row) => [row.image_id!, row]));
    const rows: TableRow[] = [];
    let unlabelled = 0;
    for (const slide of await filesBelow(folder, ['.tif', '.tiff'])) {
      if (stem(slide).endsWith('_mask')) continue;
      const row = known.get(stem(slide));
      if (!row) unlabelled++;
      else rows.push({ slide, patient: row.image_id!, label: row.isup_grade!, site: row.data_provider! });
    }
    return builtTable(folder, rows, leftOut(unlabelled, 'are not in train.csv'));
  },
};
