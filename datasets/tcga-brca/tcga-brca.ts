/** TCGA breast cancer: ductal against lobular carcinoma. */
import { type DataSet, labelTable } from '../data-set.ts';
import { buildTcga, TCGA_PATIENTS, TCGA_SOURCES, TCGA_SPLIT } from '../tcga.ts';

export const dataSet: DataSet = {
  card: {
    name: 'TCGA-BRCA',
    task: 'invasive ductal (IDC) or lobular (ILC) carcinoma of the breast',
    classes: ['IDC', 'ILC'],
    slides:
      'About a thousand diagnostic slides of the project TCGA-BRCA; count those that you downloaded with `lamina cohort check`',
    licence: 'Open access under the GDC data use policy; citing TCGA is asked for',
    access:
      'https://portal.gdc.cancer.gov, project TCGA-BRCA, data type Slide Image, strategy Diagnostic Slide; and its clinical table (clinical.tsv)',
    officialSplit: TCGA_SPLIT,
    patientRule: TCGA_PATIENTS,
    metrics: ['AUC', 'balanced accuracy', 'F1'],
    published: [],
    sources: TCGA_SOURCES,
    notes: [
      'Not checked against a source here: the number of slides, the wording of the licence, and the columns of the clinical table.',
      'Labels come from the columns case_submitter_id and primary_diagnosis: names with "duct" but not "lobular" are IDC, with "lobular" but not "duct" ILC; mixed and other ones are left out.',
    ],
  },
  async build(folder) {
    const cases = await labelTable(folder, /clinical[^/]*\.(tsv|csv)$/i, ['case_submitter_id', 'primary_diagnosis']);
    const labels = new Map<string, string | null>();
    for (const { case_submitter_id: patient, primary_diagnosis: diagnosis = '' } of cases) {
      const [duct, lobular] = [/duct/i.test(diagnosis), /lobular/i.test(diagnosis)];
      labels.set(patient!, duct === lobular ? null : duct ? 'IDC' : 'ILC');
    }
    return buildTcga(folder, (_, { patient }) => labels.get(patient) ?? null);
  },
};
