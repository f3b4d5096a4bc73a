/**
 * Many people panning at once: each asks for the tiles of a view over connections of its own, looks at it, and moves on.
 *
 *     node pan-child.js TILES_URL WIDTH HEIGHT CLIENTS SECONDS     TILES_URL with {level}, {x}, {y}; level 0 is full size
 *
 * Prints `{requests, errors, p50_ms, p95_ms}`.
 */
import http from 'node:http';
import { createRandom, integer } from '../random.ts';

const [url = '', ...numbers] = process.argv.slice(2);
const [width, height, clients, seconds] = numbers.map(Number) as [number, number, number, number];

/** Tiles of a 1600 x 900 view, and how long one looks at it. */
const VIEW = { columns: 7, rows: 4 };
const LOOK_MS = { least: 1000, more: 2000 };
const TILE_PX = 256;

const times: number[] = [];
let errors = 0;
const end = performance.now() + seconds * 1000;

async function person(seed: number): Promise<void> {
  const random = createRandom(seed);
  const agent = new http.Agent({ keepAlive: true, maxSockets: 6 });
  await new Promise((resolve) => setTimeout(resolve, random() * LOOK_MS.more));
  while (performance.now() < end) {
    const level = integer(random, 5);
    const [columns, rows] = [width, height].map((size) => Math.ceil(size / 2 ** level / TILE_PX)) as [number, number];
    const left = integer(random, Math.max(1, columns - VIEW.columns));
    const top = integer(random, Math.max(1, rows - VIEW.rows));
    const tiles: Promise<void>[] = [];
    for (let y = top; y < Math.min(rows, top + VIEW.rows); y++) {
      for (let x = left; x < Math.min(columns, left + VIEW.columns); x++) tiles.push(ask(agent, level, x, y));
    }
    await Promise.all(tiles);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS.least + random() * LOOK_MS.more));
  }
  agent.destroy();
}

/** The time counts from when the person wants the tile, waiting for a connection included. */
function ask(agent: http.Agent, level: number, x: number, y: number): Promise<void> {
  const address = url.replace('{level}', `${level}`).replace('{x}', `${x}`).replace('{y}', `${y}`);
  const start = performance.now();
  return new Promise((resolve) => {
    const fail = () => {
      errors++;
      resolve();
    };
    http
      .get(address, { agent }, (response) => {
        response.on('error', fail);
        response.on('end', () => {
          if (response.statusCode !== 200) return fail();
          times.push(performance.now() - start);
          resolve();
        });
        response.resume();
      })
      .on('error', fail);
  });
}

await Promise.all(Array.from({ length: clients }, (_, i) => person(i + 1)));
times.sort((a, b) => a - b);
const quantile = (q: number) => times[Math.min(times.length - 1, Math.floor(q * times.length))] ?? null;
console.log(JSON.stringify({ requests: times.length + errors, errors, p50_ms: quantile(0.5), p95_ms: quantile(0.95) }));
