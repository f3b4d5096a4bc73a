/** The plainest web server there is: files of a folder under a path, with the type of what a browser insists on, and nothing else. */
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join } from 'node:path';

const TYPES: Readonly<Record<string, string>> = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css' };

export interface StaticServer {
  /** Of the folder, with a slash at its end. */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

/** @param under where the folder lies on the server, such as `/papers/figure-2/`. */
export async function serveFiles(folder: string, under: string): Promise<StaticServer> {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url!, 'http://localhost');
    const name = decodeURIComponent(pathname.slice(under.length)) || 'index.html';
    const bytes = pathname.startsWith(under) ? await readFile(join(folder, name)).catch(() => null) : null;
    const type = TYPES[extname(name)];
    response.writeHead(bytes ? 200 : 404, bytes && type ? { 'content-type': type } : {});
    response.end(bytes);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${under}`,
    port,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
