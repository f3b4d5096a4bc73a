/** Recipes: how a model is built and trained, as one flat table of choices, and the published ones by name (mambamil.md). */
import { UserError } from '../errors.ts';
import type { Activation } from '../kernels/kernels.ts';
import type { SegmentLength } from '../kernels/sequence.ts';
import { modelKinds } from '../mil/create-model.ts';
import { type BranchMerge, branchMerges } from '../mil/local-mamba-block.ts';
import { blockTypes } from '../mil/mamba-block.ts';
import type { ModelConfig, ModelType } from '../mil/model-card.ts';
import { isScanOrder, type ScanOrder } from '../row-order.ts';

export interface Recipe {
  readonly model: ModelType;
  readonly width: number;
  readonly attention: number;
  readonly layers: number;
  readonly state: number;
  readonly K: SegmentLength;
  readonly flip: 'none' | 'alternate';
  readonly rate: number;
  readonly activation: Extract<Activation, 'gelu' | 'relu'>;
  readonly dropout: number;
  readonly init: 'mamba' | 'original';

  readonly lr: number;
  readonly weightDecay: number;
  /** `decoupled`: AdamW; `l2`: Adam. */
  readonly decay: 'decoupled' | 'l2';
  /** `matrices`: not A_log, D, biases, norms. */
  readonly decays: 'matrices' | 'all';
  /** Norm to which gradients are cut; null: as they are. */
  readonly maxNorm: number | null;
  readonly epochs: number;
  /** Epochs over which the step size grows to `lr`. */
  readonly warmUp: number;
  /** Whether the step size falls to 0 as a cosine, or stays; in `epochs` it changes once an epoch, in `steps` at each step. */
  readonly cosine: 'none' | 'epochs' | 'steps';
  /** Bags of one step of the optimizer; as many of them as fit are computed as one packed sequence. */
  readonly bagsPerStep: number;
  readonly shuffle: boolean;
  /** Against unequal classes: drawing bags with replacement, weighing their losses, or nothing. */
  readonly balance: 'none' | 'sampling' | 'weights';

  /** What the validation rows choose the epoch by. */
  readonly by: 'loss' | 'auc' | 'c-index';
  /** Epochs without a better one after which training ends; null: all epochs are run. */
  readonly patience: number | null;
  /** Epochs that are run in any case. */
  readonly leastEpochs: number;
  /** Of the training patients, held back for validation; 0: the last epoch is kept. */
  readonly validationShare: number;

  /** Share of the feature values cleared. */
  readonly featureDropout: number;
  /** Share of a bag's patches left out, anew each time. */
  readonly patchDropout: number;
  /** Stochastic layer-wise shuffle: probability in the last layer; in earlier ones proportionally less. */
  readonly layerShuffle: number;
  /** Row orders of which one is drawn each time that a bag is read in training; needs patch coordinates. */
  readonly rowOrders: readonly ScanOrder[];
  /**
   * Orders in which the layers scan the slide's grid, several of a layer being branches: a list for each layer, or one for all;
   * empty: the rows as they are. Needs patch coordinates.
   */
  readonly scanOrders: readonly (readonly ScanOrder[])[];
  /** How the branches are joined; `search` is trained to find out which orders a layer needs. */
  readonly merge: BranchMerge;
  /** Longer bags are thinned to so many patches in training, anew each time; null: as many as memory holds. */
  readonly mostPatches: number | null;
  /** Features are centred and scaled by the training rows' mean and deviation; the saved model has that in its first layer. */
  readonly standardise: boolean;
}

const lamina: Recipe = {
  model: 'lbmamba',
  width: 128,
  attention: 128,
  layers: 2,
  state: 16,
  K: 16,
  flip: 'alternate',
  rate: 5,
  activation: 'gelu',
  dropout: 0.25,
  init: 'mamba',
  lr: 2e-4,
  weightDecay: 1e-5,
  decay: 'decoupled',
  decays: 'matrices',
  maxNorm: 5,
  epochs: 200,
  warmUp: 2,
  cosine: 'none',
  bagsPerStep: 1,
  shuffle: true,
  balance: 'sampling',
  by: 'loss',
  patience: 20,
  leastEpochs: 50,
  validationShare: 0.1,
  featureDropout: 0,
  patchDropout: 0,
  layerShuffle: 0,
  rowOrders: [],
  scanOrders: [],
  merge: 'scattn',
  mostPatches: null,
  standardise: true,
};

export const recipes = {
  lamina,
  /** MambaMIL's scripts for subtyping. */
  mambamil: {
    ...lamina,
    model: 'srmamba',
    width: 512,
    flip: 'none',
    dropout: 0,
    init: 'original',
    decay: 'l2',
    decays: 'all',
    maxNorm: null,
    warmUp: 0,
    standardise: false,
  },
  /** How LBMamba's authors trained 2DMambaMIL; the layer type is theirs of the later paper. */
  '2dmamba': {
    ...lamina,
    width: 128,
    layers: 1,
    dropout: 0.25,
    flip: 'none',
    init: 'original',
    lr: 1e-4,
    decays: 'all',
    maxNorm: null,
    epochs: 20,
    warmUp: 0,
    cosine: 'epochs',
    shuffle: false,
    balance: 'none',
    by: 'auc',
    patience: null,
    leastEpochs: 0,
    standardise: false,
  },
} as const satisfies Readonly<Record<string, Recipe>>;

export type RecipeName = keyof typeof recipes;

/** What the scripts of a recipe do otherwise for survival models. */
const survivalChanges: Readonly<Record<RecipeName, Partial<Recipe>>> = {
  lamina: { by: 'c-index', bagsPerStep: 8, leastEpochs: 40 },
  mambamil: { by: 'c-index', bagsPerStep: 32, dropout: 0.25, leastEpochs: 40 },
  '2dmamba': { by: 'c-index', bagsPerStep: 32 },
};

/**
 * A recipe by name with changes, checked.
 *
 * @param changes names of fields to values, as a person wrote them.
 * @throws UserError `bad-recipe`
 */
export function recipeOf(
  name: RecipeName,
  task: 'classification' | 'survival',
  changes: Readonly<Record<string, unknown>> = {},
): Recipe {
  const base: Recipe = { ...recipes[name], ...(task === 'survival' ? survivalChanges[name] : {}) };
  for (const [field, value] of Object.entries(changes)) checkField(base, field, value);
  const recipe = { ...base, ...changes } as Recipe;
  // Two-branched layers read the bag both ways already.
  const both = recipe.model === 'bimamba' || recipe.model === 'srmamba';
  return both && !('flip' in changes) ? { ...recipe, flip: 'none' } : recipe;
}

const CHOICES: Readonly<Partial<Record<keyof Recipe, readonly unknown[]>>> = {
  model: Object.keys(modelKinds),
  flip: ['none', 'alternate'],
  activation: ['gelu', 'relu'],
  init: ['mamba', 'original'],
  decay: ['decoupled', 'l2'],
  decays: ['matrices', 'all'],
  cosine: ['none', 'epochs', 'steps'],
  balance: ['none', 'sampling', 'weights'],
  by: ['loss', 'auc', 'c-index'],
  merge: branchMerges,
};
const SHARES: readonly (keyof Recipe)[] = [
  'dropout',
  'validationShare',
  'featureDropout',
  'patchDropout',
  'layerShuffle',
];
const COUNTS: readonly (keyof Recipe)[] = ['width', 'attention', 'layers', 'state', 'rate', 'epochs', 'bagsPerStep'];
const NULLABLE: readonly (keyof Recipe)[] = ['maxNorm', 'patience', 'mostPatches'];

function checkField(base: Recipe, field: string, value: unknown): void {
  const wrong = (hint: string) =>
    new UserError('bad-recipe', `The recipe's ${field} cannot be ${JSON.stringify(value)}.`, hint);
  if (!Object.hasOwn(base, field)) {
    throw new UserError('bad-recipe', `A recipe has no ${field}.`, `It has ${Object.keys(base).join(', ')}.`);
  }
  const name = field as keyof Recipe;
  const choices = CHOICES[name];
  if (choices && !choices.includes(value)) throw wrong(`Take one of ${choices.join(', ')}.`);
  if (SHARES.includes(name) && !(typeof value === 'number' && value >= 0 && value < 1)) {
    throw wrong('Give a number from 0 to below 1.');
  }
  if (COUNTS.includes(name) && !(Number.isInteger(value) && (value as number) > 0)) {
    throw wrong('Give a whole number above 0.');
  }
  if (name === 'K' && value !== 'auto' && !(Number.isInteger(value) && (value as number) >= 0)) {
    throw wrong('Give a whole number, or auto.');
  }
  if (name === 'rowOrders' && !(Array.isArray(value) && value.every((order) => isScanOrder(String(order))))) {
    throw wrong('Give a list such as ["row-major","window-4"].');
  }
  if (name === 'scanOrders' && !(Array.isArray(value) && value.every((own) => Array.isArray(own) && own.length > 0))) {
    throw wrong('Give lists such as [["window-4"]] or [["row-major","column-major"],["hilbert"]].');
  }
  if (name === 'scanOrders' && !(value as unknown[][]).flat().every((order) => isScanOrder(String(order)))) {
    throw wrong('Take row-major, column-major, snake, hilbert, window-N, or one of these with -reversed.');
  }
  if (NULLABLE.includes(name)) {
    if (value !== null && !(typeof value === 'number' && value > 0)) throw wrong('Give a number above 0, or null.');
  } else if (!choices && name !== 'K' && !name.endsWith('Orders') && typeof value !== typeof base[name]) {
    throw wrong(`Give a ${typeof base[name]}.`);
  }
  if (typeof value === 'number' && !(value >= 0)) throw wrong('Give a number that is not negative.');
}

/** The model that a recipe makes for features of a width. */
export function configOf(recipe: Recipe, input: number, classes: readonly string[]): ModelConfig {
  const {
    model: type,
    width,
    attention,
    dropout,
    layers,
    state,
    K,
    flip,
    rate,
    activation,
    scanOrders,
    merge,
  } = recipe;
  const common = { input, width, attention, classes, dropout };
  if (!isBlock(type)) return { type, ...common };
  const local = type === 'lbmamba';
  const flips = local || type === 'mamba' ? flip : 'none';
  const config = {
    type,
    ...common,
    layers,
    state,
    conv: 4,
    expand: 2,
    K: local ? K : 0,
    flip: flips,
    rate,
    activation,
  };
  if (scanOrders.length === 0) return config;
  const orders = scanOrders.length === 1 ? Array.from({ length: layers }, () => scanOrders[0]!) : scanOrders;
  return { ...config, orders, merge };
}

function isBlock(type: ModelType): type is (typeof blockTypes)[number] {
  return (blockTypes as readonly string[]).includes(type);
}
