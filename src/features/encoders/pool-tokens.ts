/** From what a network gives to one vector a patch. */
import { UserError } from '../../errors.ts';
import type { Layout, TokenRule } from './recipe.ts';

/**
 * @param values of an output of `shape`: (n, width) is taken as it is, (n, tokens, width) by the rule, and of a map of features,
 *   (n, width, rows, columns) or with the width last, as `map` says, the mean over the places.
 * @returns n x dimension
 * @throws UserError `encoder-output`
 */
export function poolTokens(
  name: string,
  values: Float32Array,
  shape: readonly number[],
  rule: TokenRule,
  map: Layout,
): Float32Array {
  const [n, second, third, fourth] = shape as [number, number, number?, number?];
  if (third === undefined) return values;
  if (fourth !== undefined) {
    return map === 'nchw'
      ? meanOfPlaces(values, n * second, third * fourth)
      : meanOfTokens(values, n, second * third, fourth);
  }
  const { pool, skip } = rule;
  const patches = second - skip;
  if (patches < (pool === 'cls' ? 0 : 1)) {
    const problem = `${name}: it gives ${second} tokens a patch, of which ${skip} are class token and registers.`;
    throw new UserError(
      'encoder-output',
      problem,
      'Correct "tokens" in the encoder.json beside it, or export all tokens.',
    );
  }
  const width = third;
  const dimension = pool === 'cls+mean' ? 2 * width : width;
  const features = new Float32Array(n * dimension);
  for (let i = 0; i < n; i++) {
    const tokens = values.subarray(i * second * width, (i + 1) * second * width);
    const row = features.subarray(i * dimension, (i + 1) * dimension);
    if (pool !== 'mean') row.set(tokens.subarray(0, width));
    if (pool !== 'cls') meanOfRows(tokens.subarray(skip * width), row.subarray(dimension - width));
  }
  return features;
}

/** n x tokens x width */
function meanOfTokens(values: Float32Array, n: number, tokens: number, width: number): Float32Array {
  const means = new Float32Array(n * width);
  for (let i = 0; i < n; i++) {
    meanOfRows(
      values.subarray(i * tokens * width, (i + 1) * tokens * width),
      means.subarray(i * width, (i + 1) * width),
    );
  }
  return means;
}

function meanOfRows(rows: Float32Array, mean: Float32Array): void {
  const width = mean.length;
  const sums = new Float64Array(width);
  for (let start = 0; start < rows.length; start += width) {
    for (let j = 0; j < width; j++) sums[j]! += rows[start + j]!;
  }
  for (let j = 0; j < width; j++) mean[j] = (sums[j]! * width) / rows.length;
}

function meanOfPlaces(values: Float32Array, channels: number, places: number): Float32Array {
  return Float32Array.from({ length: channels }, (_, channel) => {
    let sum = 0;
    for (let i = channel * places; i < (channel + 1) * places; i++) sum += values[i]!;
    return sum / places;
  });
}
