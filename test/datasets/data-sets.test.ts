import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { dataSetNames, openDataSet } from '../../datasets/data-sets.ts';
import { barcodeOf } from '../../datasets/tcga.ts';
import { parseCohort } from '../../src/train/cohort.ts';

let root = '';
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), 'lamina-sets-'))));
afterAll(() => rm(root, { recursive: true }));

/** A download folder of empty slides and small tables. */
async function download(name: string, files: Readonly<Record<string, string>>): Promise<string> {
  const folder = join(root, name);
  for (const [file, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  return folder;
}

async function built(folder: string, files: Readonly<Record<string, string>>) {
  const name = dataSetNames.find((set) => folder.startsWith(set))!;
  const { csv, notes } = await (await openDataSet(name)).build(await download(folder, files));
  const rows = parseCohort('built.csv', csv).rows.map(({ id, patient, label, site, split }) => ({
    id,
    patient,
    label,
    site,
    split,
  }));
  return { rows, notes };
}

const empty = (...names: string[]) => Object.fromEntries(names.map((name) => [name, '']));

describe('public data sets', () => {
  it.each(dataSetNames)('%s has a card that names its source, and refuses an empty folder', async (name) => {
    const { card, build } = await openDataSet(name);
    expect(card.classes.length).toBeGreaterThan(0);
    expect(card.sources.length).toBeGreaterThan(0);
    for (const { source } of card.published) expect(source).toMatch(/^https:/);
    const folder = await download(`none-${name}`, { 'readme.txt': '' });
    await expect(build(folder)).rejects.toMatchObject({ name: 'UserError' });
  });

  it('builds CAMELYON16 from names, and its test labels from the reference', async () => {
    const { rows } = await built('camelyon16', {
      ...empty(
        'training/normal_001.tif',
        'training/tumor_002.tif',
        'testing/test_001.tif',
        'testing/test_002.tif',
        'mask/tumor_002_mask.tif',
      ),
      'testing/reference.csv': 'test_001.tif,Tumor,IDC,Macro\ntest_002.tif,Normal,None,None\n',
    });
    expect(rows).toEqual([
      { id: 'test_001', patient: 'test_001', label: 'tumour', site: null, split: 'test' },
      { id: 'test_002', patient: 'test_002', label: 'normal', site: null, split: 'test' },
      { id: 'normal_001', patient: 'normal_001', label: 'normal', site: null, split: 'train' },
      { id: 'tumor_002', patient: 'tumor_002', label: 'tumour', site: null, split: 'train' },
    ]);
  });

  it('builds CAMELYON17 by patient and hospital', async () => {
    const { rows, notes } = await built('camelyon17', {
      ...empty('images/patient_000_node_0.tif', 'images/patient_025_node_3.tif', 'images/patient_199_node_4.tif'),
      'stages.csv':
        'patient,stage\npatient_000.zip,pN0\npatient_000_node_0.tif,negative\npatient_025_node_3.tif,macro\n',
    });
    expect(rows).toEqual([
      { id: 'patient_000_node_0', patient: 'patient_000', label: 'negative', site: 'centre 0', split: null },
      { id: 'patient_025_node_3', patient: 'patient_025', label: 'macro', site: 'centre 1', split: null },
    ]);
    expect(notes).toEqual(['1 slides have no label in the table of stages and are left out.']);
  });

  const dx = (patient: string, sample = '01Z') => `${patient}-${sample}-00-DX1.0c2a.svs`;

  it('reads barcodes of TCGA', () => {
    expect(barcodeOf(dx('TCGA-05-4244'))).toEqual({ patient: 'TCGA-05-4244', site: '05', sample: 1, portion: 'DX' });
    expect(barcodeOf('TCGA-A2-A04P-01A-02-BSB.x.svs')).toMatchObject({ portion: 'BSB' });
    expect(barcodeOf('slide1.svs')).toBeNull();
  });

  it('builds TCGA sets from diagnostic slides of tumours', async () => {
    const lung = await built(
      'tcga-nsclc',
      empty(
        `LUAD/x/${dx('TCGA-05-4244')}`,
        `LUSC/${dx('TCGA-18-3406')}`,
        'LUAD/TCGA-05-4244-01A-01-TS1.a.svs',
        `LUAD/${dx('TCGA-05-4245', '11A')}`,
        'LUSC/other.svs',
      ),
    );
    expect(lung.rows.map(({ patient, label, site }) => [patient, label, site])).toEqual([
      ['TCGA-05-4244', 'LUAD', '05'],
      ['TCGA-18-3406', 'LUSC', '18'],
    ]);
    expect(lung.notes).toHaveLength(3);
    const breast = await built('tcga-brca', {
      ...empty(dx('TCGA-A2-A04P'), dx('TCGA-A2-A04Q'), dx('TCGA-A2-A04R')),
      'clinical.tsv':
        'case_submitter_id\tcity\tprimary_diagnosis\nTCGA-A2-A04P\tParis, "F"\tInfiltrating duct carcinoma, NOS\nTCGA-A2-A04Q\t\tLobular carcinoma, NOS\nTCGA-A2-A04R\t\tInfiltrating duct and lobular carcinoma\n',
    });
    expect(breast.rows.map(({ label }) => label)).toEqual(['IDC', 'ILC']);
    const newer = await built('tcga-brca-newer', {
      ...empty(dx('TCGA-A2-A04P'), dx('TCGA-A2-A04Q'), dx('TCGA-A2-A04R'), dx('TCGA-A2-A04S')),
      'clinical.tsv': [
        'cases.submitter_id\tdiagnoses.diagnosis_is_primary_disease\tdiagnoses.primary_diagnosis',
        'TCGA-A2-A04P\ttrue\tInfiltrating duct carcinoma, NOS',
        "TCGA-A2-A04P\t'--\t'--",
        'TCGA-A2-A04Q\tfalse\tInfiltrating duct carcinoma, NOS',
        'TCGA-A2-A04Q\ttrue\tLobular carcinoma, NOS',
        'TCGA-A2-A04R\ttrue\tInfiltrating duct carcinoma, NOS',
        'TCGA-A2-A04R\ttrue\tLobular carcinoma, NOS',
        "TCGA-A2-A04S\ttrue\t'--",
      ].join('\n'),
    });
    expect(newer.rows.map(({ patient, label }) => [patient, label])).toEqual([
      ['TCGA-A2-A04P', 'IDC'],
      ['TCGA-A2-A04Q', 'ILC'],
    ]);
    expect(newer.notes).toEqual(['2 slides have no label and are left out.']);
  });

  it('builds BRACS with its official split, and says when patients are not known', async () => {
    const files = empty(
      'train/Group_BT/Type_N/BRACS_1.svs',
      'val/Group_AT/Type_ADH/BRACS_2.svs',
      'test/Group_MT/Type_IC/BRACS_3.svs',
      'BRACS_4.svs',
    );
    const { rows, notes } = await built('bracs', files);
    expect(rows.map(({ label, split }) => [label, split]).sort()).toEqual([
      ['ADH', 'validation'],
      ['IC', 'test'],
      ['N', 'train'],
    ]);
    expect(notes[0]).toMatch(/No table of patients/);
    const named = await built('bracs', {
      ...files,
      'BRACS.csv': 'WSI Filename,Patient Id\nBRACS_1,7\nBRACS_2,7\nBRACS_3,8\n',
    });
    expect(named.rows.map(({ patient }) => patient).sort()).toEqual(['7', '7', '8']);
    // What was built before is no table of patients, wherever it lies; a table without their column is an error.
    const again = await built('bracs', { 'BRACS.csv': 'slide,patient,label,split\nBRACS_1.svs,7,N,train\n' });
    expect(again.notes[0]).toMatch(/No table of patients/);
    await expect(built('bracs', { 'summary.csv': 'WSI Filename,Patient\nBRACS_1,7\n' })).rejects.toThrow(
      /summary.csv has no column Patient Id \(it has WSI Filename, Patient\)/,
    );
  });

  it('builds PANDA, DHMC-LUAD and EBRAINS from their tables', async () => {
    const panda = await built('panda', {
      ...empty('train_images/0a.tiff', 'train_images/0b.tiff', 'train_label_masks/0a_mask.tiff'),
      'train.csv': 'image_id,data_provider,isup_grade,gleason_score\n0a,radboud,3,4+3\n',
    });
    expect(panda.rows).toEqual([{ id: '0a', patient: '0a', label: '3', site: 'radboud', split: null }]);
    const lung = await built('dhmc-luad', {
      ...empty('DHMC_0001.tif'),
      'MetaData_Release_1.0.csv': 'File Name,Class\nDHMC_0001.tif,Acinar\n',
    });
    expect(lung.rows[0]).toMatchObject({ label: 'Acinar' });
    const brain = await built('ebrains', {
      ...empty('a/u1.ndpi'),
      'annotation.csv': 'uuid,pat_id,diagnosis\nu1,p9,"Glioblastoma, IDH-wildtype"\n',
    });
    expect(brain.rows[0]).toMatchObject({ patient: 'p9', label: 'Glioblastoma, IDH-wildtype' });
  });
});
