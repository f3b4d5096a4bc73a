/**
 * Models on disk: a folder of `model.safetensors` (PyTorch's parameter names) and `model.json` (the card). A bare checkpoint of
 * a MambaMIL, `.safetensors` or PyTorch's `.pt`, opens too: its sizes follow from the shapes, its layer type has to be given.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { messageOf, UserError } from '../errors.ts';
import { isTorchFile } from '../features/torch-file.ts';
import type { Device } from '../kernels/device.ts';
import type { Parameters } from '../kernels/parameters.ts';
import { VERSION } from '../version.ts';
import { checkConfig, createModel, modelKinds } from './create-model.ts';
import { blockTypes } from './mamba-block.ts';
import type { BagModel } from './model.ts';
import type { MambaMilConfig, ModelCard, ModelConfig, ModelOrigin } from './model-card.ts';
import { type HostTensor, readSafetensors, toSafetensors, type Weights } from './safetensors.ts';
import { readTorchWeights } from './torch-checkpoint.ts';

export const WEIGHTS_FILE = 'model.safetensors';
export const CARD_FILE = 'model.json';

export interface OpenModel {
  readonly card: ModelCard;
  readonly model: BagModel;
  readonly parameters: Parameters;
  /** `sha256:…` of the weights file; of an ensemble, of the hashes of its members. */
  readonly hash: string;
  /** Of an ensemble: the models whose predictions are averaged, the first being `model`. They live as long as the device. */
  readonly members?: readonly OpenModel[];
}

/** What a bare checkpoint does not say; with a card beside the weights, what is to be different. */
export type CardOverrides = Partial<MambaMilConfig & ModelOrigin>;

/** Opens a model folder or a checkpoint file on a device. @throws UserError naming the file and what is wrong with it. */
export async function openModel(path: string, device: Device, overrides: CardOverrides = {}): Promise<OpenModel> {
  const ensemble = await readCard(join(path, WEIGHTS_FILE));
  if (ensemble?.members?.length) return openEnsemble(path, ensemble, ensemble.members, device, overrides);
  const weightsFile = await findWeights(path);
  const bytes = await readFile(weightsFile);
  const weights = isTorchFile(bytes) ? readTorchWeights(bytes, weightsFile) : readSafetensors(bytes, weightsFile);
  const written = await readCard(weightsFile);
  const card = written
    ? withDefaults({ ...written, ...overrides }, weightsFile)
    : inferCard(weights, weightsFile, overrides);
  const { model, parameters } = createModel(device, card, weights, weightsFile);
  return { card, model, parameters, hash: `sha256:${createHash('sha256').update(bytes).digest('hex')}` };
}

/** A folder whose card names others within it: `fold-1`, `fold-2`, … */
async function openEnsemble(
  folder: string,
  written: Partial<ModelCard>,
  names: readonly string[],
  device: Device,
  overrides: CardOverrides,
): Promise<OpenModel> {
  const members: OpenModel[] = [];
  for (const name of names) members.push(await openModel(join(folder, basename(name)), device, overrides));
  const card = withDefaults({ ...written, ...overrides }, join(folder, WEIGHTS_FILE));
  const hash = createHash('sha256');
  for (const member of members) hash.update(member.hash);
  return { ...members[0]!, card, hash: `sha256:${hash.digest('hex')}`, members };
}

/** Writes a model folder; each file appears under its name when it is whole, the card last. */
export async function saveModel(folder: string, card: ModelCard, parameters: Parameters): Promise<void> {
  const weights = new Map<string, HostTensor>();
  for (const [name, { shape }] of parameters.tensors) weights.set(name, { shape, data: await parameters.read(name) });
  await saveWeights(folder, card, weights);
}

/** As `saveModel`, of weights in host memory. */
export async function saveWeights(folder: string, card: ModelCard, weights: Weights): Promise<void> {
  checkConfig(card);
  await mkdir(folder, { recursive: true });
  await writeWhole(join(folder, WEIGHTS_FILE), toSafetensors(weights, { format: 'pt' }));
  await saveEnsembleCard(folder, card, []);
}

/** The card alone: of an ensemble whose members, folders in this one, are there already, or anew for the weights beside it. */
export async function saveEnsembleCard(folder: string, card: ModelCard, members: readonly string[]): Promise<void> {
  const content = { ...card, version: VERSION, ...(members.length > 0 ? { members } : {}) };
  await writeWhole(join(folder, CARD_FILE), `${JSON.stringify(content, null, 2)}\n`);
}

async function writeWhole(path: string, content: Uint8Array | string): Promise<void> {
  const partial = `${path}.partial-${process.pid}`;
  await writeFile(partial, content);
  await rename(partial, path);
}

async function findWeights(path: string): Promise<string> {
  const found = await stat(path).catch((cause) => {
    throw new UserError('no-model', `There is no model at ${path} (${messageOf(cause)}).`, 'Check the path.', {
      cause,
    });
  });
  if (!found.isDirectory()) return path;
  const weights = join(path, WEIGHTS_FILE);
  if (!(await stat(weights).catch(() => null))) {
    const hint = 'Give the folder that `lamina train` wrote, or a .pt or .safetensors file.';
    throw new UserError('no-model', `${path} holds no ${WEIGHTS_FILE}.`, hint);
  }
  return weights;
}

/** The card beside the weights has their name: `model.json` for `model.safetensors`, `fold3.json` for `fold3.pt`. */
function cardFile(weightsFile: string): string {
  return weightsFile.replace(/\.[^./\\]*$/, '.json');
}

async function readCard(weightsFile: string): Promise<Partial<ModelCard> | null> {
  const file = cardFile(weightsFile);
  const text = await readFile(file, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    const card = JSON.parse(text);
    if (typeof card === 'object' && card !== null && !Array.isArray(card)) return card;
    throw new Error('it is not an object');
  } catch (cause) {
    throw new UserError('model-card', `${file}: ${messageOf(cause)}.`, 'Correct the card, or delete it.', { cause });
  }
}

/** Of a model that does not say where it comes from. */
export const originDefaults: Omit<ModelOrigin, 'name'> = {
  task: 'classification',
  encoder: null,
  patchMpp: null,
  patchPx: null,
  order: 'unknown',
  trained: true,
  trainingDataHash: null,
  metrics: null,
  version: null,
};

const mambaDefaults: Partial<MambaMilConfig> = { state: 16, conv: 4, expand: 2, rate: 10, activation: 'gelu' };

/** The defaults of what a card may leave out. */
function withDefaults(given: Partial<ModelCard>, weightsFile: string): ModelCard {
  const isMamba = (blockTypes as readonly unknown[]).includes(given.type);
  const local = given.type === 'lbmamba';
  const card = {
    name: nameOf(weightsFile),
    ...originDefaults,
    dropout: 0,
    ...(isMamba ? { ...mambaDefaults, K: local ? 16 : 0, flip: local ? 'alternate' : 'none' } : {}),
    ...given,
  } as ModelCard;
  const missing = ['type', 'input', 'width', 'attention', 'classes', ...(isMamba ? ['layers'] : [])].find(
    (field) => !(field in card),
  );
  if (missing || !Array.isArray(card.classes)) {
    const problem = `The card of ${weightsFile} has no "${missing ?? 'classes'}".`;
    throw new UserError('model-card', problem, 'Add it to model.json.');
  }
  checkConfig(card);
  return card;
}

function nameOf(weightsFile: string): string {
  const file = basename(weightsFile);
  return file === WEIGHTS_FILE ? basename(dirname(weightsFile)) : file.replace(/\.[^.]*$/, '');
}

/** The card of a bare MambaMIL checkpoint: sizes from the shapes, the rest from the caller. */
function inferCard(weights: Weights, weightsFile: string, overrides: CardOverrides): ModelCard {
  const shapeOf = (name: string) => weights.get(name)?.shape;
  const [first, hidden, classifier] = ['_fc1.0.weight', 'attention.0.weight', 'classifier.weight'].map(shapeOf);
  const [A, conv] = [shapeOf('layers.0.1.A_log'), shapeOf('layers.0.1.conv1d.weight')];
  if (!first || !hidden || !classifier || !A || !conv) {
    const names = [...weights.keys()].slice(0, 3).join(', ');
    const hint = `Write a card beside it, ${basename(cardFile(weightsFile))}, with its type (${Object.keys(modelKinds).join(', ')}) and sizes.`;
    throw new UserError('model-card', `${weightsFile} is not a MambaMIL checkpoint (it has ${names}, …).`, hint);
  }
  const branches = weights.has('layers.0.1.A_b_log') ? 2 : 1;
  if (!overrides.type) {
    const [likely, other] = branches === 2 ? ['srmamba', 'bimamba'] : ['lbmamba', 'mamba'];
    throw new UserError(
      'model-type',
      `${weightsFile} does not say which layer type it was trained with; its layers have ${branches === 2 ? 'two branches' : 'one branch'}.`,
      `Give the type: ${likely} or ${other}.`,
    );
  }
  const width = first[0]!;
  const config: Partial<ModelConfig> = {
    input: first[1]!,
    width,
    attention: hidden[0]!,
    classes: Array.from({ length: classifier[0]! }, (_, i) => `class ${i}`),
    layers: 1 + Math.max(...[...weights.keys()].map((name) => Number(/^layers\.(\d+)\./.exec(name)?.[1] ?? 0))),
    state: A[1]!,
    conv: conv.at(-1)!,
    expand: A[0]! / width,
  };
  return withDefaults({ ...config, ...overrides } as Partial<ModelCard>, weightsFile);
}
