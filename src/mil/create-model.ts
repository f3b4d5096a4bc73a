/** Every kind of bag model by its type, and models made from a config: one line each. */
import { UserError } from '../errors.ts';
import type { Device } from '../kernels/device.ts';
import { Parameters } from '../kernels/parameters.ts';
import { isScanOrder, type ScanOrder } from '../row-order.ts';
import { abmil } from './abmil.ts';
import { clamSb } from './clam-sb.ts';
import { dsmil } from './dsmil.ts';
import { gatedAbmil } from './gated-abmil.ts';
import { type Initialisation, initialWeights } from './initialise.ts';
import { mambaMil } from './mambamil.ts';
import { maxPooling, meanPooling } from './mean-max.ts';
import { type BagModel, type ModelKind, requireBags } from './model.ts';
import type { MambaMilConfig, ModelConfig, ModelType } from './model-card.ts';
import type { Weights } from './safetensors.ts';
import { transmil } from './transmil.ts';

export const modelKinds: Readonly<Record<ModelType, ModelKind>> = {
  mamba: mambaMil,
  lbmamba: mambaMil,
  bimamba: mambaMil,
  srmamba: mambaMil,
  mean: meanPooling,
  max: maxPooling,
  abmil,
  'gated-abmil': gatedAbmil,
  'clam-sb': clamSb,
  dsmil,
  transmil,
};

export interface CreatedModel {
  readonly model: BagModel;
  readonly parameters: Parameters;
}

/** A model with the given weights. @param source where they came from, for messages. */
export function createModel(device: Device, config: ModelConfig, weights: Weights, source: string): CreatedModel {
  const kind = modelKinds[config.type];
  const parameters = Parameters.create(device, kind.shapes(config));
  try {
    parameters.write(weights, source);
  } catch (error) {
    parameters.close();
    throw error;
  }
  return { model: refusingEmptyBags(kind.create(config, parameters)), parameters };
}

/** The same model, whose forward pass checks its bags. */
function refusingEmptyBags(model: BagModel): BagModel {
  return {
    ...model,
    forward(tape, bags) {
      requireBags(bags.offsets);
      return model.forward(tape, bags);
    },
  };
}

/** A model with fresh random weights: the same seed gives the same model. */
export function createRandomModel(device: Device, config: ModelConfig, options: Initialisation): CreatedModel {
  checkConfig(config);
  return createModel(
    device,
    config,
    initialWeights(modelKinds[config.type].shapes(config), options),
    'initial weights',
  );
}

/** @throws UserError for a combination of options that no model has. */
export function checkConfig(config: ModelConfig): void {
  const wrong = (problem: string, hint: string) => new UserError('model-config', problem, hint);
  const { type } = config;
  if (!Object.hasOwn(modelKinds, type)) {
    throw wrong(`There is no model type "${type}".`, `Take one of ${Object.keys(modelKinds).join(', ')}.`);
  }
  if (config.classes.length < 2) throw wrong('A model needs two classes or more.', 'Name them in "classes".');
  for (const [name, value] of Object.entries({ ...config, K: 1 })) {
    if (typeof value !== 'number' || name === 'dropout' || name === 'patchMpp') continue;
    if (!(Number.isInteger(value) && value > 0)) {
      throw wrong(`"${name}" is ${value}.`, `Give "${name}" a whole number above 0.`);
    }
  }
  if ('K' in config) {
    const { K, flip } = config;
    if (K !== 'auto' && !(Number.isInteger(K) && K >= 0)) {
      throw wrong(`The segment length K is ${K}.`, 'Give K a whole number, or "auto".');
    }
    if (flip === 'alternate' && (type === 'bimamba' || type === 'srmamba')) {
      throw wrong(`Layers of type ${type} read the bag both ways already.`, 'Set "flip" to "none".');
    }
  }
  if ('orders' in config && config.orders) checkOrders(config, config.orders, wrong);
  if (type === 'transmil' && config.width % 16 !== 0) {
    throw wrong(
      `TransMIL has 8 heads and half as many landmarks as its width, ${config.width}.`,
      'Take a multiple of 16.',
    );
  }
}

function checkOrders(
  { type, layers }: MambaMilConfig,
  orders: readonly (readonly ScanOrder[])[],
  wrong: (problem: string, hint: string) => UserError,
): void {
  if (type !== 'mamba' && type !== 'lbmamba') {
    throw wrong(`Layers of type ${type} have orders of their own.`, 'Leave "orders" out, or take lbmamba.');
  }
  if (orders.length !== layers || orders.some((own) => own.length === 0)) {
    throw wrong(
      `"orders" names ${orders.length} layers, the model has ${layers}.`,
      'List one order or more for each layer.',
    );
  }
  const unknown = orders.flat().find((order) => !isScanOrder(order));
  if (unknown !== undefined) {
    const hint = 'Take row-major, column-major, snake, hilbert or window-2, -4, -7 …, or one of these with -reversed.';
    throw wrong(`There is no order "${unknown}".`, hint);
  }
}
