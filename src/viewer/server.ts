/**
 * The viewer's server: a run folder in, `Request -> Response` out.
 *
 * Ids and names in addresses are looked up, never made into paths. Label and macro images are not served: they may show names.
 * A slide that moved, a damaged bag, a missing picture is answered with a sentence; the server stays up.
 */
import type { AddressInfo } from 'node:net';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { messageOf, UserError } from '../errors.ts';
import { refusal, SECURITY_HEADERS } from './guard.ts';
import { readPageFiles } from './page-files.ts';
import { Pictures } from './pictures.ts';
import { ASK, bytesResponse, problemResponse, type ViewerEnv } from './responses.ts';
import { readRunFolder } from './run-folder.ts';
import { addSlideRoutes } from './slide-routes.ts';
import { addTileRoutes } from './tile-routes.ts';

export interface ViewerApp {
  fetch(request: Request): Promise<Response>;
  /** Closes the slides. Requests under way may fail. */
  close(): Promise<void>;
}

export interface ServedViewer {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  close(): Promise<void>;
}

/** What is worth compressing: pictures are already, scores hardly are. */
const COMPRESSIBLE = /^(text\/|application\/(json|geo\+json|ld\+json|xml)|image\/svg)/;

/**
 * The handlers of a viewer of one run. The folder is read again whenever the slide list is asked for, so a reload shows
 * what a run under way has finished.
 * @throws UserError `not-a-run`.
 */
export async function createViewerApp(runDir: string): Promise<ViewerApp> {
  const pictures = new Pictures();
  const pageFiles = await readPageFiles();
  let run = await readRunFolder(runDir);

  const app = new Hono<ViewerEnv>();
  app.use(async (c, next) => {
    const reason = refusal(c.req.raw);
    if (reason) c.res = problemResponse('refused', reason, 403);
    else await next();
    if (c.get('complete')) return;
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
  });
  app.onError((error) => {
    if (error instanceof UserError) return problemResponse(error.code, error.message, statusOf(error));
    if (error.name === 'TimeoutError') {
      return problemResponse('too-slow', 'The slide file did not answer in time. Check its drive, then reload.', 503);
    }
    if (error.name === 'AbortError') return problemResponse('aborted', 'Nobody waited for this any more.', 499);
    return problemResponse('fault', `The viewer made a mistake: ${messageOf(error)}`, 500);
  });
  app.notFound((c) => problemResponse('not-found', `There is nothing at ${c.req.path}.`, 404));

  // Tiles first: they are many and need no compression.
  addTileRoutes(app, (id) => run.slides.get(id)?.slide ?? null, pictures);
  app.use(compress({ contentTypeFilter: COMPRESSIBLE }));
  addSlideRoutes(app, pictures, {
    current: () => run,
    refresh: async () => (run = await readRunFolder(runDir)),
  });

  app.get('*', (c) => {
    const file = pageFiles.get(c.req.path === '/' ? '/index.html' : c.req.path);
    if (!file && pageFiles.size === 0) return c.text('The page is not built. Run: npm run build\n', 503);
    return file ? bytesResponse(c, file.bytes, file.mime, file.tag, ASK) : c.notFound();
  });

  return {
    fetch: async (request) => app.fetch(request),
    close: () => pictures.close(),
  };
}

function statusOf({ code }: UserError): number {
  return code === 'bad-request' ? 400 : 422;
}

/**
 * Serves a run on the loopback address. Port 0 takes any free one.
 * @throws UserError `not-a-run`, `port-in-use`.
 */
export async function serveViewer(runDir: string, { port }: { port: number }): Promise<ServedViewer> {
  const app = await createViewerApp(runDir);
  const server = createAdaptorServer({ fetch: app.fetch });
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
  } catch (error) {
    await app.close();
    throw unservable(port, error);
  }
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      if ('closeAllConnections' in server) server.closeAllConnections();
      await closed;
      await app.close();
    },
  };
}

function unservable(port: number, error: unknown): UserError {
  const code = (error as NodeJS.ErrnoException).code;
  const problem =
    code === 'EADDRINUSE' ? `Port ${port} is in use.` : `Port ${port} cannot be opened (${messageOf(error)}).`;
  return new UserError('port-in-use', problem, 'Choose another one with --port, or --port 0 for any free one.', {
    cause: error,
  });
}
