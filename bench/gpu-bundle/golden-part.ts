/** A part of a golden folder, in the same form: the chosen cases and the tensors they need. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { toSafetensors } from '../../src/mil/safetensors.ts';
import { chooseCases } from '../../test/golden/choose-cases.ts';
import { type Golden, type GoldenCase, openGolden } from '../../test/golden/source.ts';

/** Copies the cases that store at most `most` bytes, and the smallest of each kind. Returns how many. */
export async function copyGoldenPart(from: string, to: string, most: number): Promise<number> {
  const golden = await openGolden((name) => readFile(join(from, name)));
  const sizes = await storedBytes(golden);
  const cases = chooseCases(golden.cases, (one) => sizes.get(one)!, most);
  await mkdir(to, { recursive: true });
  for (const file of new Set(cases.map((one) => one.file))) {
    const prefixes = cases.filter((one) => one.file === file).flatMap(prefixesOf);
    const needed = [...(await golden.tensors(file))].filter(([name]) => prefixes.some((p) => name.startsWith(p)));
    await writeFile(join(to, file), toSafetensors(new Map(needed)));
  }
  const manifest = JSON.parse(await readFile(join(from, 'manifest.json'), 'utf8'));
  await writeFile(join(to, 'manifest.json'), JSON.stringify({ ...manifest, cases }));
  return cases.length;
}

/** What the names of a case's tensors begin with; parameters may lie with another case. */
function prefixesOf({ name, params_at: parameters }: GoldenCase): string[] {
  return parameters ? [`${name}/`, `${parameters}/in/param.`] : [`${name}/`];
}

async function storedBytes({ cases, tensors }: Golden): Promise<Map<GoldenCase, number>> {
  const sizes = new Map<GoldenCase, number>();
  for (const one of cases) {
    const own = [...(await tensors(one.file))].filter(([name]) => name.startsWith(`${one.name}/`));
    sizes.set(
      one,
      own.reduce((sum, [, { data }]) => sum + data.byteLength, 0),
    );
  }
  return sizes;
}
