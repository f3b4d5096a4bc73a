/** TCGA breast cancer: ductal against lobular carcinoma. */
import { type DataSet, labelTable } from '../data-set.ts';
import { buildTcga, TCGA_PATIENTS, TCGA_SOURCES, TCGA_SPLIT } from '../tcga.ts';

/** Of newer tables: whether the diagnosis of the row is the disease that the project is about. */
const PRIMARY = 'diagnoses.diagnosis_is_primary_disease';

export const dataSet: DataSet = {
  card: {
    name: 'TCGA-BRCA',
    task: 'invasive ductal (IDC) or lobular (ILC) carcinoma of the breast',
    classes: ['IDC', 'ILC'],
    slides:
      '1062 diagnostic slides of the project TCGA-BRCA in 2024, as others counted them; papers take 779 IDC and 198 ILC of them and the like, by rules of their own. Count yours with `lamina cohort check`',
    licence: 'Open access under the GDC data use policy; citing TCGA is asked for',
    access:
      'https://portal.gdc.cancer.gov, project TCGA-BRCA, data type Slide Image, strategy Diagnostic Slide; and its clinical table (clinical.tsv)',
    officialSplit: TCGA_SPLIT,
    patientRule: TCGA_PATIENTS,
    metrics: ['AUC', 'balanced accuracy', 'F1'],
    published: [],
    sources: [
      ...TCGA_SOURCES,
      'https://github.com/mahmoodlab/TANGLE/issues/5 (1062 diagnostic slides)',
      'https://github.com/DearCaat/RRT-MIL/issues/8 (779 IDC and 198 ILC; labels from primary_diagnosis)',
      'https://github.com/BioinformaticsFMRP/TCGAbiolinks/issues/644 (since data release 42 a case may have several diagnoses; the help desk names diagnosis_is_primary_disease)',
    ],
    notes: [
      'Not checked against a source here: the wording of the licence. The counts are what others say of their downloads.',
      'Labels come from the columns case_submitter_id and primary_diagnosis, in newer tables cases.submitter_id and diagnoses.primary_diagnosis: names with "duct" but not "lobular" are IDC, with "lobular" but not "duct" ILC; patients with both, and those with neither, are left out. Diagnoses that are said not to be the primary disease do not count.',
    ],
  },
  async build(folder) {
    const rows = await labelTable(folder, /clinical[^/]*\.(tsv|csv)$/i, [
      ['case_submitter_id', 'cases.submitter_id'],
      ['primary_diagnosis', 'diagnoses.primary_diagnosis'],
    ]);
    // A row a diagnosis, or a treatment: a patient may have several.
    const diagnoses = new Map<string, string>();
    for (const { case_submitter_id: patient, primary_diagnosis: diagnosis, [PRIMARY]: primary } of rows) {
      if (/^false$/i.test(primary ?? '')) continue;
      diagnoses.set(patient!, `${diagnoses.get(patient!) ?? ''} ${diagnosis}`);
    }
    return buildTcga(folder, (_, { patient }) => {
      const diagnosis = diagnoses.get(patient) ?? '';
      const [duct, lobular] = [/duct/i.test(diagnosis), /lobular/i.test(diagnosis)];
      return duct === lobular ? null : duct ? 'IDC' : 'ILC';
    });
  },
};
