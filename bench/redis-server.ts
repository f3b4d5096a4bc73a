/** A Redis of one's own, for tests and measurements: on a free port, in a folder, with every write on disk before it is answered. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';

export const hasRedis = spawnSync('redis-server', ['--version']).status === 0;

export interface OwnRedis {
  readonly url: string;
  /** Ends it as a power cut would, and starts it again on the same port and folder. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export async function startRedis(folder: string): Promise<OwnRedis> {
  const port = await freePort();
  let server = await start(port, folder);
  return {
    url: `redis://127.0.0.1:${port}`,
    async restart() {
      await kill(server);
      server = await start(port, folder);
    },
    stop: () => kill(server),
  };
}

async function start(port: number, folder: string): Promise<ChildProcess> {
  const where = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', folder];
  const server = spawn('redis-server', [...where, '--appendonly', 'yes', '--appendfsync', 'always', '--save', ''], {
    stdio: 'ignore',
  });
  const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50, maxRetriesPerRequest: null });
  redis.on('error', () => {});
  // It answers before it has read its file, with an error.
  for (let tries = 0; ; tries++) {
    const answer = await redis.ping().catch(() => null);
    if (answer === 'PONG') break;
    if (tries > 100) throw new Error('redis-server does not answer');
    await sleep(50);
  }
  redis.disconnect();
  return server;
}

async function kill(server: ChildProcess): Promise<void> {
  if (server.exitCode !== null || server.signalCode !== null) return;
  const ended = new Promise((resolve) => server.once('exit', resolve));
  server.kill('SIGKILL');
  await ended;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().listen(0, '127.0.0.1');
    server.once('error', reject);
    server.once('listening', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
