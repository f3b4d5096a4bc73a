/** A server of a few folders on this machine, with the headers that make a page isolated, or without. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.wasm': 'application/wasm',
};

const ISOLATION = {
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Embedder-Policy': 'require-corp',
};

export interface FolderServer {
  /** Ends in a slash. */
  readonly url: string;
  close(): void;
}

/** @param folders by the first part of the path: `{ page: 'dist/test/browser' }` is `/page/index.html`. */
export async function serveFolders(
  folders: Readonly<Record<string, string>>,
  { isolated }: { isolated: boolean },
): Promise<FolderServer> {
  const server = createServer(async (request, response) => {
    const [, name = '', ...rest] = decodeURIComponent(new URL(request.url!, 'http://localhost').pathname).split('/');
    const folder = folders[name];
    const file = folder && join(folder, normalize(`/${rest.join('/')}`));
    const bytes = file ? await readFile(file).catch(() => null) : null;
    if (!file || !bytes) {
      response.writeHead(404).end();
      return;
    }
    const type = TYPES[extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { 'Content-Type': type, ...(isolated && ISOLATION) }).end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
