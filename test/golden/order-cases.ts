/** Row orders, exact. */
import { sparseWindowOrder, stridedOrder, windowOrder } from '../../src/row-order.ts';
import type { Outputs, Runner } from './run-case.ts';

/** The four directions that a windowed order is stored in. */
function directions(order: (options: { reversed: boolean; columnFirst: boolean }) => Int32Array): Outputs {
  const entries = [false, true].flatMap((reversed) =>
    [false, true].map((columnFirst) => {
      const name = `flip${Number(reversed)}_col${Number(columnFirst)}`;
      return [name, order({ reversed, columnFirst })] as const;
    }),
  );
  return Object.fromEntries(entries);
}

export const orderKinds: Readonly<Record<string, Runner>> = {
  window_order: async ({ case: { H, W, w } }) => directions((options) => windowOrder(H, W, w, options)),
  sparse_window_order: async ({ golden, case: { name, file, w } }) => {
    const cells = Int32Array.from((await golden.tensors(file)).get(`${name}/coords`)!.data);
    return {
      ...directions((options) => sparseWindowOrder(cells, w, options)),
      serpentine: sparseWindowOrder(cells, w, { serpentine: true }),
    };
  },
  sr_order: async ({ case: { L, rate } }) => ({ inv: stridedOrder(L, rate) }),
};
