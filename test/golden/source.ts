/** Where the golden files come from: a folder in Node, a server in a browser. */
import { readSafetensors, type Weights } from '../../src/mil/safetensors.ts';

export type ReadFile = (name: string) => Promise<Uint8Array>;

export interface OutputRule {
  readonly shape: readonly number[];
  readonly tol: number;
  readonly atol: number;
}

/** A case of manifest.json; what else it holds depends on its kind. */
export interface GoldenCase {
  readonly name: string;
  readonly file: string;
  readonly kind: string;
  readonly inputs?: Readonly<Record<string, readonly number[]>>;
  readonly outputs?: Readonly<Record<string, OutputRule>>;
  readonly tensors?: Readonly<Record<string, readonly number[]>>;
  // biome-ignore lint/suspicious/noExplicitAny: the fields of a kind are read by its runner alone.
  readonly [field: string]: any;
}

export interface Golden {
  readonly seed: number;
  readonly cases: readonly GoldenCase[];
  /** The tensors of one of the files, by their full names. */
  tensors(file: string): Promise<Weights>;
  readFile: ReadFile;
}

export async function openGolden(readFile: ReadFile): Promise<Golden> {
  const manifest = JSON.parse(new TextDecoder().decode(await readFile('manifest.json')));
  const files = new Map<string, Promise<Weights>>();
  return {
    seed: manifest.seed,
    cases: manifest.cases,
    readFile,
    tensors(file) {
      let loaded = files.get(file);
      if (!loaded) files.set(file, (loaded = readFile(file).then((bytes) => readSafetensors(bytes, file))));
      return loaded;
    },
  };
}
