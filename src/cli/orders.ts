/** `lamina orders`: what a search of scan orders found, and the discrete model that follows from it. */
import type { Command } from 'commander';
import { UserError } from '../errors.ts';
import { openDevice } from '../kernels/open-device.ts';
import type { MambaMilConfig } from '../mil/model-card.ts';
import { openModel } from '../mil/model-folder.ts';
import { discreteConfig, orderWeights } from '../mil/order-search.ts';
import { parseCount } from './options.ts';
import { printJson, printLine, printTable } from './print.ts';

export function configure(command: Command): void {
  command
    .argument('<model>', 'folder of a model trained with merge=search')
    .option('--keep <n>', 'orders that each layer keeps', parseCount, 4)
    .option('--json', 'print one JSON object')
    .action(async (path: string, { keep, json }: { keep: number; json?: boolean }) => {
      const { config, weights } = await searched(path);
      const { orders } = discreteConfig(config, weights, keep);
      const layers = config.orders!.map((candidates, layer) =>
        Object.fromEntries(candidates.map((order, i) => [order, weights[layer]![i]!])),
      );
      if (json) return printJson({ layers, orders });
      printTable(
        config.orders![0]!.map((order) => ({
          order,
          ...Object.fromEntries(layers.map((layer, i) => [`layer ${i + 1}`, (layer[order] ?? 0).toFixed(3)])),
        })),
      );
      printLine(`The discrete model: lamina train … --set 'scanOrders=${JSON.stringify(orders)}'`);
    });
}

/** Weights of the orders; of an ensemble, the means over its members. */
async function searched(path: string): Promise<{ config: MambaMilConfig; weights: number[][] }> {
  const device = await openDevice('wasm', { threads: 1 });
  try {
    const open = await openModel(path, device);
    const { config } = open.model;
    if (!('merge' in config) || config.merge !== 'search' || !config.orders) {
      const hint =
        'Train with --set merge=search and all candidates, for example --set \'scanOrders=[["row-major","window-7"]]\'.';
      throw new UserError('no-search', `${path} was not trained to search scan orders.`, hint);
    }
    const members = await Promise.all(
      (open.members ?? [open]).map(({ parameters }) => orderWeights(config, parameters)),
    );
    const weights = config.orders.map((candidates, layer) =>
      candidates.map((_, i) => members.reduce((sum, own) => sum + own[layer]![i]!, 0) / members.length),
    );
    return { config, weights };
  } finally {
    await device.close();
  }
}
