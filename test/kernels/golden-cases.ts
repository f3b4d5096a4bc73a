/** Reads the golden data: cases of the manifest and their tensors. Format and pass rule: README of that folder. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { HostArray } from './run-kernel.ts';

export const goldenFolder = process.env.LAMINA_GOLDEN ?? '../shared/golden';
export const withoutGolden = existsSync(join(goldenFolder, 'manifest.json'))
  ? null
  : `no golden data in ${goldenFolder}`;

interface OutputRule {
  readonly shape: readonly number[];
  readonly tol: number;
  readonly atol: number;
}

export interface GoldenCase {
  readonly name: string;
  readonly file: string;
  readonly kind: string;
  readonly dims?: Readonly<Record<string, number>>;
  readonly K?: number;
  readonly cu_seqlens?: readonly number[] | null;
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly outputs: Readonly<Record<string, OutputRule>>;
  readonly [option: string]: unknown;
}

type Tensors = ReadonlyMap<string, HostArray>;
const files = new Map<string, Tensors>();

/** Cases of one kind; none when the data is missing. */
export function goldenCases(kind: string): GoldenCase[] {
  if (withoutGolden) return [];
  const manifest = JSON.parse(readFileSync(join(goldenFolder, 'manifest.json'), 'utf8')) as { cases: GoldenCase[] };
  return manifest.cases.filter((c) => c.kind === kind);
}

/** Input of a case, or null if it has none of that name. */
export function goldenInput(c: GoldenCase, name: string): Float32Array | null {
  return (readTensors(c.file).get(`${c.name}/in/${name}`) as Float32Array | undefined) ?? null;
}

export function goldenOutput(c: GoldenCase, name: string): Float32Array {
  return readTensors(c.file).get(`${c.name}/out/${name}`) as Float32Array;
}

/** max |got - ref| <= tol max |ref| + atol. */
export function expectGolden(c: GoldenCase, name: string, got: ArrayLike<number>): void {
  const wanted = goldenOutput(c, name);
  const { tol, atol } = c.outputs[name]!;
  expect(got.length, `${c.name} ${name}: length`).toBe(wanted.length);
  let scale = 0;
  let worst = 0;
  for (let i = 0; i < wanted.length; i++) {
    scale = Math.max(scale, Math.abs(wanted[i]!));
    const off = Math.abs(got[i]! - wanted[i]!);
    worst = Math.max(worst, off); // NaN stays
  }
  expect(worst, `${c.name} ${name}: difference relative to ${scale}`).toBeLessThanOrEqual(tol * scale + atol);
}

function readTensors(file: string): Tensors {
  let tensors = files.get(file);
  if (!tensors) {
    const bytes = readFileSync(join(goldenFolder, file));
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
      string,
      { dtype: string; data_offsets: [number, number] }
    >;
    const data = new Uint8Array(bytes.subarray(8 + length)).buffer;
    tensors = new Map(
      Object.entries(header)
        .filter(([name]) => name !== '__metadata__')
        .map(
          ([
            name,
            {
              dtype,
              data_offsets: [from, to],
            },
          ]) => [name, dtype === 'I32' ? new Int32Array(data.slice(from, to)) : new Float32Array(data.slice(from, to))],
        ),
    );
    files.set(file, tensors);
  }
  return tensors;
}
