/**
 * A page that shows a training under way: its folds, and curves of losses and scores. Drawn by the server as plain HTML and SVG,
 * it loads itself again every few seconds and needs no script.
 */
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { messageOf, UserError } from '../errors.ts';
import { ownNames, refusal, SECURITY_HEADERS } from './guard.ts';

export interface EpochView {
  readonly epoch: number;
  readonly trainLoss: number;
  readonly validationLoss: number | null;
  readonly validationScore: number | null;
}

export interface FoldView {
  readonly name: string;
  readonly status: 'waiting' | 'training' | 'done';
  readonly epochs: readonly EpochView[];
  /** Number of the epoch that was kept. */
  readonly best: number | null;
}

export interface TrainingView {
  readonly title: string;
  /** The most epochs of a fold. */
  readonly epochs: number;
  /** What the score is: `AUC`, `C-index`. */
  readonly score: string;
  readonly folds: readonly FoldView[];
  readonly warnings: readonly string[];
  /** A sentence, when all is done. */
  readonly result: string | null;
}

export interface ServedTraining {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  close(): Promise<void>;
}

/** @param view asked at each request. @throws UserError `port-in-use`. Port 0 takes any free one. */
export async function serveTraining(view: () => TrainingView, { port }: { port: number }): Promise<ServedTraining> {
  const app = createTrainingApp(view);
  const server = createAdaptorServer({ fetch: app.fetch });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', resolve);
  }).catch((error) => {
    const problem = `Port ${port} cannot be opened (${messageOf(error)}).`;
    throw new UserError('port-in-use', problem, 'Choose another one with --port, or --port 0 for any free one.');
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
    },
  };
}

export function createTrainingApp(view: () => TrainingView): Hono {
  const app = new Hono();
  app.use(async (c, next) => {
    const reason = refusal(c.req.raw, ownNames('127.0.0.1'));
    if (reason) c.res = c.text(reason, 403);
    else await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
    c.res.headers.set('cache-control', 'no-store');
  });
  app.get('/', (c) => c.html(trainingPage(view())));
  app.get('/api/training', (c) => c.json(view()));
  app.get('/page.css', (c) => c.body(STYLE, 200, { 'content-type': 'text/css' }));
  return app;
}

const SECONDS = 2;

export function trainingPage(view: TrainingView): string {
  const { title, folds, warnings, result, score } = view;
  const refresh = result === null ? `<meta http-equiv="refresh" content="${SECONDS}">` : '';
  const losses = folds.flatMap((fold, i) => [
    series(i, 'solid', fold.epochs, ({ trainLoss }) => trainLoss),
    series(i, 'dashed', fold.epochs, ({ validationLoss }) => validationLoss),
  ]);
  const scores = folds.map((fold, i) => series(i, 'solid', fold.epochs, ({ validationScore }) => validationScore));
  const rows = folds.map(({ name, status, epochs, best }, i) => {
    const last = epochs.at(-1);
    const cells = [
      `<span class="c${i % COLOURS}">&#9632;</span> ${quoted(name)}`,
      status,
      `${epochs.length} of ${view.epochs}`,
      shown(last?.trainLoss),
      shown(last?.validationLoss),
      shown(last?.validationScore),
      best === null ? '' : `${best}`,
    ];
    return `<tr>${cells.map((cell) => `<td>${cell}</td>`).join('')}</tr>`;
  });
  const heads = ['fold', 'status', 'epochs', 'training loss', 'validation loss', `validation ${score}`, 'kept epoch'];
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>${quoted(title)}</title>${refresh}
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/page.css"></head><body><main>
<h1>${quoted(title)}</h1>${result === null ? '' : `<p role="status">${quoted(result)}</p>`}
${warnings.map((warning) => `<p class="warning">${quoted(warning)}</p>`).join('\n')}
${chart('Loss by epoch: training solid, validation dashed', losses, view.epochs)}
${chart(`Validation ${score} by epoch`, scores, view.epochs)}
<table><thead><tr>${heads.map((head) => `<th scope="col">${quoted(head)}</th>`).join('')}</tr></thead>
<tbody>${rows.join('\n')}</tbody></table></main></body></html>`;
}

interface Series {
  readonly className: string;
  readonly points: readonly (readonly [number, number])[];
}

const COLOURS = 8;

function series(
  fold: number,
  line: 'solid' | 'dashed',
  epochs: readonly EpochView[],
  value: (epoch: EpochView) => number | null,
): Series {
  const points = epochs.flatMap((epoch) => {
    const y = value(epoch);
    return y === null ? [] : [[epoch.epoch, y] as const];
  });
  return { className: `c${fold % COLOURS} ${line}`, points };
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [720, 240, 48, 24];

/** Nothing for no points. */
function chart(title: string, all: readonly Series[], epochs: number): string {
  const values = all.flatMap(({ points }) => points.map(([, y]) => y));
  if (values.length === 0) return '';
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const x = (epoch: number) => LEFT + ((WIDTH - LEFT - 8) * (epoch - 1)) / Math.max(1, epochs - 1);
  const y = (value: number) => 8 + ((HEIGHT - BOTTOM - 8) * (high - value)) / (high - low || 1);
  const lines = all.map(({ className, points }) => {
    const path = points.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(' ');
    return `<polyline class="${className}" points="${path}"/>`;
  });
  const labels = [low, high].map(
    (value) => `<text x="${LEFT - 4}" y="${y(value) + 4}" class="end">${shown(value)}</text>`,
  );
  return `<figure><figcaption>${quoted(title)}</figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${quoted(title)}">
<path class="axis" d="M${LEFT} 8V${HEIGHT - BOTTOM}H${WIDTH - 8}"/>${labels.join('')}
<text x="${LEFT}" y="${HEIGHT - 6}">1</text><text x="${WIDTH - 8}" y="${HEIGHT - 6}" class="end">${epochs}</text>
${lines.join('\n')}</svg></figure>`;
}

function shown(value: number | null | undefined): string {
  return value === null || value === undefined ? '' : value.toPrecision(3);
}

function quoted(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Okabe and Ito's colours, which the colour-blind can tell apart. */
const PALETTE = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#8a8a00'];
const STYLE = `body{font:15px/1.5 system-ui,sans-serif;margin:0;background:#fff;color:#1a1a1a}main{max-width:60rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.25rem .5rem;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}
figure{margin:1rem 0}svg{width:100%}polyline{fill:none;stroke-width:1.5}.dashed{stroke-dasharray:4 3}.axis{fill:none;stroke:#767676}
text{font-size:11px;fill:#444}.end{text-anchor:end}.warning{border-left:4px solid #e69f00;padding-left:.75rem}
${PALETTE.map((colour, i) => `.c${i}{stroke:${colour}}span.c${i}{color:${colour}}`).join('')}`;
