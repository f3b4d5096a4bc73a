/** `lamina demo`: synthetic slides with known truth, an untrained model, a run and the viewer, all in `lamina-demo`. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { writeSyntheticCohort } from '../../datasets/synthetic/cohort.ts';
import { UserError } from '../errors.ts';
import { openEncoder } from '../features/open-encoder.ts';
import { openDevice } from '../kernels/open-device.ts';
import { createRandomModel } from '../mil/create-model.ts';
import type { ModelCard } from '../mil/model-card.ts';
import { saveModel } from '../mil/model-folder.ts';
import { openLine } from '../run/line.ts';
import { plainTiling } from '../run/survey.ts';
import { gridDefaults } from '../tiling/grid.ts';
import { VERSION } from '../version.ts';
import { type ServedViewer, serveViewer } from '../viewer/server.ts';
import { runAndPrint } from './batch.ts';
import { interruptSignal, untilInterrupted } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags, lineOptions, parsePort } from './options.ts';
import { printLine } from './print.ts';
import { DEFAULT_PORT } from './view.ts';

type Flags = DeviceFlags & {
  readonly port: number;
  readonly serve: boolean;
  readonly json?: boolean;
  readonly verbose?: boolean;
};

const FOLDER = 'lamina-demo';
const SLIDES = 6;
const SEED = 1;

export function configure(command: Command): void {
  addDeviceOptions(command)
    .option('--port <n>', 'port on 127.0.0.1; the next free one is taken if it is in use', parsePort, DEFAULT_PORT)
    .option('--no-serve', 'end after the table')
    .option('--json', 'print one JSON object')
    .action(async () => {
      const flags = command.optsWithGlobals<Flags>();
      const signal = interruptSignal();
      const manifest = await ensureSlides(join(FOLDER, 'slides'), signal);
      const model = await ensureModel(join(FOLDER, 'model'));
      const run = join(FOLDER, 'run');
      const line = await openLine(lineOptions(flags, model));
      try {
        await runAndPrint([manifest], line, plainTiling(line.patchPx, line.patchMpp), { ...flags, out: run }, signal);
      } finally {
        await line.close();
      }
      if (flags.serve) await serve(run, flags.port, signal);
    });
}

/** The manifest is written last: where it is, the slides are whole. */
async function ensureSlides(folder: string, signal: AbortSignal): Promise<string> {
  const manifest = join(folder, 'manifest.csv');
  if (await exists(manifest)) return manifest;
  await writeSyntheticCohort(folder, {
    slides: SLIDES,
    seed: SEED,
    onSlide: ({ id, label }) => {
      signal.throwIfAborted();
      process.stderr.write(`wrote ${join(folder, id)}.tif (${label})\n`);
    },
  });
  return manifest;
}

/** A small LBMamba model with seeded random weights. Until training exists, it shows the line and knows nothing. */
async function ensureModel(folder: string): Promise<string> {
  if (await exists(join(folder, 'model.json'))) return folder;
  const encoder = await openEncoder('stain-texture');
  const device = await openDevice('wasm', { threads: 1 });
  try {
    const card: ModelCard = {
      name: 'demo, untrained',
      type: 'lbmamba',
      task: 'classification',
      classes: ['normal', 'tumour'],
      input: encoder.dimension,
      width: 64,
      attention: 32,
      layers: 2,
      state: 16,
      conv: 4,
      expand: 2,
      K: 16,
      flip: 'alternate',
      rate: 1,
      activation: 'gelu',
      dropout: 0,
      encoder: encoder.id,
      patchMpp: gridDefaults.mpp,
      patchPx: gridDefaults.patchPx,
      order: 'row-major',
      trained: false,
      trainingDataHash: null,
      metrics: null,
      version: VERSION,
    };
    const { parameters } = createRandomModel(device, card, { seed: SEED });
    await saveModel(folder, card, parameters);
    return folder;
  } finally {
    await Promise.all([device.close(), encoder.close()]);
  }
}

async function serve(run: string, wanted: number, signal: AbortSignal): Promise<void> {
  const server = await serveOnFreePort(run, wanted);
  if (wanted !== 0 && !server.url.includes(`:${wanted}/`))
    printLine(`Port ${wanted} is in use, so another one was taken.`);
  printLine(`Viewer at ${server.url} (Ctrl-C ends it)`);
  await untilInterrupted(signal);
  await server.close();
}

async function serveOnFreePort(run: string, wanted: number): Promise<ServedViewer> {
  for (let port = wanted; ; port++) {
    try {
      return await serveViewer(run, { port });
    } catch (error) {
      const inUse = error instanceof UserError && error.code === 'port-in-use';
      if (!inUse || port >= Math.min(wanted + 100, 65535)) throw error;
    }
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
