/** From what people call an encoder to its weights and its recipe. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { UserError } from '../../errors.ts';
import { cacheFolder } from './cache-folder.ts';
import { fetchFromHub, type HubOptions, keptAt } from './hub.ts';
import { externalDataOf } from './onnx-file.ts';
import { findPreset, type Preset, presets } from './presets.ts';
import { defaultRecipe, type Recipe, readRecipe } from './recipe.ts';

export interface Located {
  /** The first part of the encoder's id. */
  readonly name: string;
  /** The ONNX file. */
  readonly path: string;
  readonly recipe: Recipe;
  /** Features a patch, where that is known. */
  readonly dimension: number | null;
}

export interface LocateOptions {
  /** A file, a folder or `hf:…` for the encoder that is named. */
  readonly weights: string | null;
  readonly hub?: HubOptions;
}

const RECIPE_FILE = 'encoder.json';
const HUB = 'hf:';
/** Where repositories keep ONNX files. */
const HUB_FILES = ['model.onnx', 'onnx/model.onnx'];

/**
 * @param name a preset, a path of an ONNX file or of a folder with one, or `hf:owner/name[/file]`
 * @returns null if it is none of these
 * @throws UserError `no-weights`, `bad-recipe`, and as `fetchFromHub`
 */
export async function locate(name: string, options: LocateOptions): Promise<Located | null> {
  const preset = findPreset(name);
  if (preset) return await locatePreset(preset, options);
  if (options.weights !== null) {
    const known = presets.map((one) => one.name).join(', ');
    const hint = `Name the file itself with --encoder, or one of: ${known}.`;
    throw new UserError('unknown-encoder', `--weights belongs to a known encoder, and "${name}" is none.`, hint);
  }
  if (!name.startsWith(HUB) && !(await stat(name).catch(() => null))) {
    if (!name.endsWith('.onnx') && !name.includes('/')) return null;
    throw new UserError('no-weights', `${name}: there is no such file or folder.`, 'Check the path of --encoder.');
  }
  const path = await weightsAt(name, options);
  const known = hubPreset(name);
  const recipe = await recipeBeside(path, known?.recipe ?? defaultRecipe);
  const repository = name.startsWith(HUB) ? name.split('/')[1]! : null;
  return { name: known?.name ?? repository ?? nameOf(path), path, recipe, dimension: known?.dimension ?? null };
}

async function locatePreset(preset: Preset, options: LocateOptions): Promise<Located> {
  const { name, dimension, recipe } = preset;
  const path = options.weights === null ? await keptWeights(preset) : await weightsAt(options.weights, options);
  return { name, path, recipe: await recipeBeside(path, recipe), dimension };
}

/** Whether a preset can be opened without saying where its weights are. */
export async function encoderIsHere({ name }: Preset): Promise<boolean> {
  return (await firstThere(placesOf(name))) !== null;
}

/** Where weights are found without being named. */
function placesOf(name: string): string[] {
  const folder = join(cacheFolder(), 'encoders');
  return [join(folder, `${name}.onnx`), join(folder, name, 'model.onnx')];
}

async function firstThere(paths: readonly string[]): Promise<string | null> {
  for (const path of paths) if (await stat(path).catch(() => null)) return path;
  return null;
}

async function keptWeights({ name, title, licence, access, gated }: Preset): Promise<string> {
  const places = placesOf(name);
  const path = await firstThere(places);
  if (path) return path;
  const asking = gated ? `ask for access at ${access}` : `get the weights at ${access}`;
  throw new UserError(
    'no-weights',
    `The weights of ${title} are not here; they do not come with this program (licence: ${licence}).`,
    `To use it, ${asking}, export them to ONNX (docs/encoders.md), and give the file with --weights or put it at ${places[0]}.`,
  );
}

async function weightsAt(place: string, options: LocateOptions): Promise<string> {
  if (place.startsWith(HUB)) return await weightsFromHub(place, options.hub ?? hubOptions());
  const found = await stat(place).catch(() => null);
  if (!found)
    throw new UserError('no-weights', `${place}: there is no such file or folder.`, 'Check the path of --weights.');
  return found.isDirectory() ? await weightsIn(place) : place;
}

async function weightsIn(folder: string): Promise<string> {
  const files = (await readdir(folder)).filter((file) => extname(file) === '.onnx').sort();
  const file = files.includes('model.onnx') ? 'model.onnx' : files[0];
  if (file && (files.length === 1 || file === 'model.onnx')) return join(folder, file);
  const problem = `${folder}: there is ${files.length === 0 ? 'no .onnx file in it' : `more than one .onnx file in it (${files.join(', ')})`}.`;
  throw new UserError('no-weights', problem, 'Name the file itself.');
}

async function weightsFromHub(place: string, hub: HubOptions): Promise<string> {
  const [owner, name, ...path] = place.slice(HUB.length).split('/');
  const isSafe = (part: string | undefined) => part !== undefined && /^[\w.-]+$/.test(part) && !/^\.+$/.test(part);
  if (![owner, name, ...path].every(isSafe)) {
    const problem = `"${place}" does not name a repository.`;
    throw new UserError('no-weights', problem, 'Write hf:owner/name or hf:owner/name/path/of/file.onnx.');
  }
  const repository = `${owner}/${name}`;
  const files = path.length > 0 ? [path.join('/')] : HUB_FILES;
  for (const file of files) {
    const beside = (other: string) => fetchFromHub(repository, join(dirname(file), other), hub);
    try {
      // It comes first: weights that are kept have theirs beside them, unless there is none.
      await beside(RECIPE_FILE);
    } catch (error) {
      // Without a connection, what is there is good enough; once something new has come, it would be of another version.
      const kept = await firstThere(files.map((one) => keptAt(repository, one, hub)));
      if (kept && error instanceof UserError && error.code === 'download-failed') return kept;
      throw error;
    }
    const local = await fetchFromHub(repository, file, hub);
    if (!local) continue;
    for (const other of await externalDataOf(local)) {
      // What is not there is missed by name when the file is opened.
      if (other === basename(other)) await beside(other);
    }
    return local;
  }
  const problem = `${repository} has no ${files.join(' and no ')}.`;
  const hint = 'Name the ONNX file with hf:owner/name/path, or export the network to ONNX (docs/encoders.md).';
  throw new UserError('no-weights', problem, hint);
}

export function hubOptions(environment: NodeJS.ProcessEnv = process.env): HubOptions {
  return { cache: cacheFolder(environment), endpoint: environment.HF_ENDPOINT, token: environment.HF_TOKEN };
}

/** To the hub, large and small letters are the same. */
function hubPreset(name: string): Preset | null {
  if (!name.startsWith(HUB)) return null;
  const repository = name.slice(HUB.length).split('/', 2).join('/').toLowerCase();
  return presets.find((one) => one.repository?.toLowerCase() === repository) ?? null;
}

async function recipeBeside(path: string, base: Recipe): Promise<Recipe> {
  const file = join(dirname(path), RECIPE_FILE);
  return (await stat(file).catch(() => null)) ? await readRecipe(file, base) : base;
}

/** The file's name, or the folder's where the file is called as all are; without the signs that ids are made of. */
function nameOf(path: string): string {
  const stem = basename(path, extname(path));
  const own = /^(model|encoder)([._-].*)?$/.test(stem) ? basename(dirname(path)) : stem;
  return own.replace(/[^\w.-]+/g, '-') || 'onnx';
}
