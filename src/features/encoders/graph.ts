/** What of a network's inputs and outputs is the picture and what are the features, from the shapes that its file declares. */
import { UserError } from '../../errors.ts';
import type { Layout, Recipe } from './recipe.ts';

/** As onnxruntime tells it: a name instead of a number is a dimension of any size. */
export interface PortShape {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

export type PixelType = 'float32' | 'float16' | 'uint8';

export interface GraphPlan {
  readonly input: string;
  readonly type: PixelType;
  readonly layout: Layout;
  /** Side of the picture. */
  readonly size: number;
  /** Pictures a run; null takes any number. */
  readonly batch: number | null;
  readonly output: string;
  /** Of the output, if it is a map of features. */
  readonly map: Layout;
}

const PIXEL_TYPES: readonly string[] = ['float32', 'float16', 'uint8'];
const FEATURE_TYPES: readonly string[] = ['float32', 'float16'];

/**
 * @param name of the file, for the messages
 * @throws UserError `not-an-image-model`, `encoder-size`, `encoder-output`
 */
export function planGraph(
  name: string,
  inputs: readonly PortShape[],
  outputs: readonly PortShape[],
  recipe: Recipe,
): GraphPlan {
  const not = (what: string) =>
    new UserError(
      'not-an-image-model',
      `${name}: ${what}.`,
      'An encoder takes one batch of RGB pictures, (n, 3, h, w) or (n, h, w, 3). Export the image part of the network alone.',
    );
  const [input, ...others] = inputs;
  if (!input || others.length > 0) throw not(`it has ${inputs.length} inputs (${names(inputs)}) instead of one`);
  const { shape } = input;
  if (shape.length !== 4) throw not(`its input ${describe(input)} has ${shape.length} dimensions instead of 4`);
  if (!PIXEL_TYPES.includes(input.type)) throw not(`its input ${describe(input)} takes neither floats nor bytes`);
  const layout = layoutOf(shape);
  if (!layout) throw not(`its input ${describe(input)} has no dimension of three colours`);
  const [height, width] = layout === 'nchw' ? [shape[2]!, shape[3]!] : [shape[1]!, shape[2]!];
  const [batch] = shape;
  return {
    input: input.name,
    type: input.type as PixelType,
    layout,
    size: sideOf(name, height, width, recipe),
    batch: typeof batch === 'number' && batch > 0 ? batch : null,
    output: chooseOutput(name, outputs, recipe),
    map: recipe.map ?? layout,
  };
}

/** Three colours come second or last; where neither dimension says so, PyTorch's order is taken. */
function layoutOf([, second, , last]: readonly (number | string)[]): Layout | null {
  if (second === 3) return 'nchw';
  if (last === 3) return 'nhwc';
  return typeof second === 'number' ? null : 'nchw';
}

function sideOf(name: string, height: number | string, width: number | string, recipe: Recipe): number {
  const fixed = [height, width].filter((side) => typeof side === 'number' && side > 0);
  const wrong = fixed.find((side) => side !== recipe.size);
  if (wrong === undefined) return recipe.size;
  throw new UserError(
    'encoder-size',
    `${name}: the network takes pictures of ${width} x ${height} px, and ${recipe.size} px are asked for.`,
    `Export it for ${recipe.size} px, or write "size": ${wrong} into an encoder.json beside it.`,
  );
}

function chooseOutput(name: string, outputs: readonly PortShape[], { output }: Recipe): string {
  const wrong = (what: string) =>
    new UserError(
      'encoder-output',
      `${name}: ${what}.`,
      'Write "output": "<name>" into an encoder.json beside it, or export the network with its features as the only output.',
    );
  const usable = outputs.filter(
    ({ type, shape }) => FEATURE_TYPES.includes(type) && shape.length >= 2 && shape.length <= 4,
  );
  if (output !== null) {
    if (usable.some((one) => one.name === output)) return output;
    throw wrong(`there is no output "${output}" of floats (there are ${names(outputs)})`);
  }
  if (usable.length === 1) return usable[0]!.name;
  // What the `transformers` library calls the tokens, also where there is a pooled output beside them.
  const tokens = usable.find((one) => one.name === 'last_hidden_state');
  if (tokens) return tokens.name;
  throw wrong(
    usable.length === 0
      ? `none of its outputs holds features (${names(outputs)})`
      : `it has several outputs (${names(outputs)})`,
  );
}

const describe = ({ name, shape }: PortShape) => `"${name}" (${shape.join(', ')})`;
const names = (ports: readonly PortShape[]) => ports.map(describe).join('; ') || 'none';
