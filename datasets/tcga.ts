/** Slides of The Cancer Genome Atlas: what their barcodes say, and tables of them from downloads of the GDC. */
import { type BuiltTable, builtTable, filesBelow, leftOut, type TableRow } from './data-set.ts';

export interface Barcode {
  /** `TCGA-05-4244`: the patient. */
  readonly patient: string;
  /** `05`: the tissue source site. */
  readonly site: string;
  /** 01 to 09 are tumours, 10 to 19 normal tissue. */
  readonly sample: number;
  /** DX: a diagnostic, formalin-fixed slide; TS, BS, MS: frozen sections. */
  readonly portion: string;
}

/** `TCGA-05-4244-01Z-00-DX1.<uuid>.svs`; null for other names. */
export function barcodeOf(name: string): Barcode | null {
  const match = /^(TCGA-([A-Z0-9]{2})-[A-Z0-9]{4})-(\d{2})[A-Z]-\d{2}-([A-Z]+)[A-Z0-9]*/.exec(name);
  return match && { patient: match[1]!, site: match[2]!, sample: Number(match[3]), portion: match[4]! };
}

export const TCGA_PATIENTS =
  'The first 12 characters of the barcode (TCGA-05-4244); characters 6 and 7 are the tissue source site.';
export const TCGA_SPLIT = 'None. Split by patient; --split preserved-site keeps each tissue source site on one side.';
export const TCGA_SOURCES = [
  'https://docs.gdc.cancer.gov/Encyclopedia/pages/TCGA_Barcode/ (barcode)',
  'https://gdc.cancer.gov/resources-tcga-users/tcga-code-tables (site, sample and portion codes)',
];

/**
 * Diagnostic slides of tumours with a label. @param labelOf the slide's path below the folder, and its barcode.
 */
export async function buildTcga(
  folder: string,
  labelOf: (path: string, barcode: Barcode) => string | null,
): Promise<BuiltTable> {
  const rows: TableRow[] = [];
  const left = { names: 0, frozen: 0, normal: 0, labels: 0 };
  for (const slide of await filesBelow(folder, ['.svs'])) {
    const barcode = barcodeOf(slide.split('/').at(-1)!);
    if (!barcode) left.names++;
    else if (barcode.portion !== 'DX') left.frozen++;
    else if (barcode.sample >= 10) left.normal++;
    else {
      const label = labelOf(slide, barcode);
      if (label === null) left.labels++;
      else rows.push({ slide, patient: barcode.patient, label, site: barcode.site });
    }
  }
  return builtTable(folder, rows, [
    ...leftOut(left.names, 'have names that are no TCGA barcodes'),
    ...leftOut(left.frozen, 'are frozen sections'),
    ...leftOut(left.normal, 'are normal tissue'),
    ...leftOut(left.labels, 'have no label'),
  ]);
}
