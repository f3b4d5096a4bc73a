/** CAMELYON17: lymph node sections of five hospitals, labelled by the size of their metastases. */
import { builtTable, type DataSet, filesBelow, labelTable, leftOut, stem, type TableRow } from '../data-set.ts';

/** Patients 0 to 99 are for training, twenty of each hospital in turn. */
const PATIENTS_OF_A_CENTRE = 20;

export const dataSet: DataSet = {
  card: {
    name: 'CAMELYON17',
    task: 'size of the metastasis in a lymph node section (of a patient: pN stage)',
    classes: ['negative', 'itc', 'micro', 'macro'],
    slides: '1000 of 200 patients, five each, from five hospitals in the Netherlands; 500 of 100 patients have labels',
    licence: 'CC0',
    access:
      'GigaScience or the AWS registry of open data, both linked from https://camelyon17.grand-challenge.org/Data/',
    officialSplit:
      '100 patients for training, 100 for testing, twenty of each hospital in both; the labels of the test slides stay with the organisers.',
    patientRule: 'patient_NNN in the file name.',
    metrics: ['quadratic kappa of the pN stage', 'AUC', 'accuracy'],
    published: [],
    sources: [
      'https://camelyon17.grand-challenge.org/Data/ (licence, counts, downloads)',
      'https://huggingface.co/datasets/osbm/camelyon17 (data/README.md: hospitals, twenty patients each, stages.csv)',
    ],
    notes: [
      'Not checked against a source here: the columns patient and stage of stages.csv, and the order of the hospitals.',
      'The classes are grades, and in the order of the alphabet they are not: train with --classes negative,itc,micro,macro, evaluate with --ordered.',
      "The site is derived from the patient's number: 0 to 19 the first hospital, 20 to 39 the second, and so on.",
    ],
  },
  async build(folder) {
    const stages = await labelTable(folder, /stage[^/]*\.csv$/i, ['patient', 'stage']);
    const labels = new Map(stages.map(({ patient, stage }) => [stem(patient ?? ''), stage!]));
    const rows: TableRow[] = [];
    let unlabelled = 0;
    for (const slide of await filesBelow(folder, ['.tif', '.tiff'])) {
      const name = stem(slide);
      const match = /^(patient_(\d+))_node_\d+$/.exec(name);
      if (!match) continue;
      const label = labels.get(name);
      if (!label) unlabelled++;
      else
        rows.push({
          slide,
          patient: match[1]!,
          label,
          site: `centre ${Math.floor((Number(match[2]) % 100) / PATIENTS_OF_A_CENTRE)}`,
        });
    }
    return builtTable(folder, rows, leftOut(unlabelled, 'have no label in the table of stages'));
  },
};
