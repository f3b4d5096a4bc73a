/** BRACS: subtypes of breast lesions. */
import { builtTable, type DataSet, filesBelow, labelTableIfThere, leftOut, stem, type TableRow } from '../data-set.ts';

const TYPES = ['N', 'PB', 'UDH', 'FEA', 'ADH', 'DCIS', 'IC'];
const PARTS: Readonly<Record<string, string>> = {
  train: 'train',
  val: 'validation',
  validation: 'validation',
  test: 'test',
};

export const dataSet: DataSet = {
  card: {
    name: 'BRACS',
    task: 'subtype of a breast lesion: normal, pathological benign, usual ductal hyperplasia, flat epithelial atypia, atypical ductal hyperplasia, ductal carcinoma in situ, invasive carcinoma',
    classes: TYPES,
    slides:
      '547: training 395 (N 27, PB 120, UDH 56, FEA 24, ADH 28, DCIS 40, IC 100), validation 65 (10, 11, 9, 6, 8, 9, 12), test 87 (7, 16, 9, 11, 12, 12, 20)',
    licence: 'Not found in a source here: see the terms on the site before use',
    access:
      'https://www.bracs.icar.cnr.it: folders train, val and test with Group_*/Type_*, and a summary table with patients',
    officialSplit: 'Training, validation and test folders.',
    patientRule:
      'In the summary table (.xlsx). Save it as CSV with the columns "WSI Filename" and "Patient Id" beside the slides; without it each slide counts as a patient, and the official split is the only safe one.',
    metrics: ['AUC (macro)', 'accuracy', 'F1 (macro)'],
    published: [
      {
        model: 'Mamba2MIL',
        setting: 'as its abstract says; see there',
        figure: 'AUC 0.7986, accuracy 0.4981',
        source: 'https://arxiv.org/abs/2408.15032',
      },
    ],
    sources: ['https://www.bracs.icar.cnr.it/details/ (counts, folders)', 'https://arxiv.org/abs/2111.04740'],
    notes: ['Not checked against a source here: the columns of the table of patients.'],
  },
  async build(folder) {
    const columns = ['WSI Filename', 'Patient Id'];
    const patients = await labelTableIfThere(folder, /(bracs|summary)[^/]*\.csv$/i, columns);
    const patientOf = new Map(patients?.map((row) => [stem(row['WSI Filename']!), row['Patient Id']!]));
    const rows: TableRow[] = [];
    let strangers = 0;
    for (const slide of await filesBelow(folder, ['.svs'])) {
      const type = /(?:^|\/)Type_([A-Z]+)\//.exec(slide)?.[1];
      const part = slide
        .split('/')
        .map((name) => PARTS[name.toLowerCase()])
        .find((name) => name !== undefined);
      if (!type || !TYPES.includes(type)) strangers++;
      else
        rows.push({
          slide,
          patient: patientOf.get(stem(slide)) ?? stem(slide),
          label: type,
          ...(part && { split: part }),
        });
    }
    const notes = patients ? [] : ['No table of patients is there: each slide counts as one. Use --split given.'];
    return builtTable(folder, rows, [...notes, ...leftOut(strangers, 'lie in no folder Type_*')]);
  },
};
