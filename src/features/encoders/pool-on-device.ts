/** As `poolTokens`, without leaving the device. */
import type { Device, Storage, View } from '../../kernels/device.ts';
import type { Layout, TokenRule } from './recipe.ts';

/**
 * @param raw what a network gave, `rows` and perhaps more of them, each of `shape`: (width), (tokens, width), or a map of features,
 *   (width, rows, columns) or (rows, columns, width).
 * @param target rows x dimension
 */
export function poolOnDevice(
  device: Device,
  raw: View,
  shape: readonly number[],
  rows: number,
  rule: TokenRule,
  map: Layout,
  target: View,
): void {
  const [first, second, third] = shape as [number, number?, number?];
  const held: Storage[] = [];
  const hold = (length: number): View => {
    const storage = device.create(length);
    held.push(storage);
    return { storage, offset: 0, length };
  };
  const constant = (data: Float32Array | Int32Array): View => {
    const view = hold(data.length);
    device.write(view.storage, data);
    return view;
  };

  if (second === undefined) device.run('add', [raw, null, target], [target.length, 1, 0]);
  else if (third !== undefined && map === 'nhwc') {
    // Each patch is a bag of its places.
    const places = first * second;
    const offsets = constant(Int32Array.from({ length: rows + 1 }, (_, patch) => patch * places));
    device.run('poolRows', [raw, offsets, target, null], [rows * places, third, rows, 0]);
  } else if (third !== undefined) {
    const places = second * third;
    const share = constant(new Float32Array(places).fill(1 / places));
    device.run('matmul', [raw, share, null, target], [rows * first, 1, places, 0, 1, 0, -1]);
  } else {
    const parts = hold(target.length);
    let made = 0;
    const gather = (from: View, row: (patch: number) => number) => {
      const index = constant(Int32Array.from({ length: rows }, (_, patch) => row(patch)));
      const part = { storage: parts.storage, offset: made++ * rows * second, length: rows * second };
      device.run('gatherRows', [from, index, part], [rows, second, 0]);
    };
    if (rule.pool !== 'mean') gather(raw, (patch) => patch * first);
    if (rule.pool !== 'cls') {
      // Tokens that are skipped and those of patches take turns as bags, of which every last one is wanted.
      const ends = rule.skip > 0 ? [rule.skip, first] : [first];
      const offsets = Array.from({ length: rows }, (_, patch) => ends.map((end) => patch * first + end));
      const bags = rows * ends.length;
      const means = hold(bags * second);
      const places = constant(Int32Array.of(0, ...offsets.flat()));
      device.run('poolRows', [raw, places, means, null], [rows * first, second, bags, 0]);
      gather(means, (patch) => patch * ends.length + ends.length - 1);
    }
    // One part after the other becomes, patch by patch, one beside the other.
    const order = Int32Array.from({ length: rows * made }, (_, i) => (i % made) * rows + Math.floor(i / made));
    device.run('gatherRows', [parts, constant(order), target], [rows * made, second, 0]);
  }
  for (const storage of held) device.release(storage);
}
