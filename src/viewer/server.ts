/**
 * The viewer's server: a run folder in, `Request -> Response` out.
 *
 * Ids and names in addresses are looked up, never made into paths. Label and macro images are not served: they may show names.
 * A slide that moved, a damaged bag, a missing picture is answered with a sentence; the server stays up.
 */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { createAdaptorServer } from '@hono/node-server';
import { Hono } from 'hono';
import { compress } from 'hono/compress';
import { routePath } from 'hono/route';
import { messageOf, UserError } from '../errors.ts';
import type { DeviceChoice } from '../kernels/open-device.ts';
import { type Access, createToken } from './access.ts';
import { addAccess } from './access-routes.ts';
import { readAccounts } from './accounts.ts';
import { isLoopback, ownNames, SECURITY_HEADERS } from './guard.ts';
import { readLiveSlides } from './live-slides.ts';
import { readPageFiles } from './page-files.ts';
import { Pictures } from './pictures.ts';
import { ASK, bytesResponse, problemResponse, type ViewerEnv } from './responses.ts';
import { Reviews } from './review.ts';
import { addReviewRoutes } from './review-routes.ts';
import { type RunRecord, readRunFolder, withLive, withoutFolders } from './run-folder.ts';
import { RunModel } from './run-model.ts';
import { addSlideRoutes, type BlindnessOf, slideView } from './slide-routes.ts';
import { Storage } from './storage.ts';
import { addTileRoutes } from './tile-routes.ts';

export interface ViewerOptions {
  /** Address to listen on; 127.0.0.1 unless given. Any other one asks for a token or an account. */
  readonly host?: string;
  /** Accounts file; without one a token opens the viewer to other machines. */
  readonly accounts?: string;
  /** Instead of one made for the occasion; asks for it on the loopback address too. */
  readonly token?: string;
  /** Shows label and macro images, which may bear names. */
  readonly showLabels?: boolean;
  /** Where reviews and annotations are kept: `file:PATH` or a libSQL server; `review.db` in the run folder unless given. */
  readonly database?: string;
  readonly databaseToken?: string;
  /** Another run, whose scores of the same slides can be laid over those of this one. */
  readonly against?: string;
  /** The model folder for counterfactuals, when it is not where the run says. */
  readonly model?: string;
  readonly device?: DeviceChoice;
  /** Told of every request that failed, by its route: no names of slides, no paths. */
  readonly onProblem?: (problem: { route: string; status: number; code: string; message: string }) => void;
}

export interface ViewerApp {
  readonly access: Access;
  fetch(request: Request, env?: ViewerEnv['Bindings']): Promise<Response>;
  /** Closes the slides. Requests under way may fail. */
  close(): Promise<void>;
}

export interface ServedViewer {
  /** `http://127.0.0.1:PORT/` */
  readonly url: string;
  /** Opens the viewer for whoever has it; null when there is none. */
  readonly token: string | null;
  close(): Promise<void>;
}

/** Of the connection: a client that dawdles holds nobody up. */
const TIME_LIMITS_MS = { headersTimeout: 10_000, requestTimeout: 60_000, keepAliveTimeout: 30_000 };
const LEAST_TOKEN = 16;
const STATUS: Readonly<Record<string, number>> = { 'bad-request': 400, 'not-allowed': 403, 'not-found': 404 };

/** What is worth compressing: pictures are already, scores hardly are. */
const COMPRESSIBLE = /^(text\/|application\/(json|geo\+json|ld\+json|xml)|image\/svg)/;

/**
 * The handlers of a viewer of one run. The folder is read again whenever the slide list is asked for, so a reload shows
 * what a run under way has finished.
 * @throws UserError `not-a-run`.
 */
export async function createViewerApp(runDir: string, options: ViewerOptions = {}): Promise<ViewerApp> {
  const { host = '127.0.0.1', showLabels = false, onProblem } = options;
  const access = await accessOf(options);
  const pictures = new Pictures();
  const model = new RunModel({ model: options.model ?? null, device: options.device ?? 'auto' });
  const storage = new Storage(options.database ?? `file:${join(resolve(runDir), 'review.db')}`, options.databaseToken);
  const pageFiles = await readPageFiles();
  let run = await readRunFolder(runDir);

  const app = new Hono<ViewerEnv>();
  const discreet = access.mode === 'open' ? undefined : (text: string) => withoutFolders(text, run, runDir);
  app.use(async (c, next) => {
    c.set('discreet', discreet);
    await next();
    if (c.get('complete')) return;
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.res.headers.set(name, value);
  });
  addAccess(app, access, ownNames(host));
  app.onError((error, c) => {
    const { code, status, message } = problemOf(error);
    onProblem?.({ route: `${c.req.method} ${routePath(c)}`, status, code, message });
    return problemResponse(code, discreet?.(message) ?? message, status);
  });
  app.notFound((c) => problemResponse('not-found', `There is nothing at ${c.req.path}.`, 404));

  // Tiles first: they are many and need no compression.
  addTileRoutes(app, (id) => run.slides.get(id)?.slide ?? null, pictures);
  app.use(compress({ contentTypeFilter: COMPRESSIBLE }));
  let reading: Promise<RunRecord> | null = null;
  const read = async () => (run = await readRunFolder(runDir));
  /** What a page asks together as it opens is answered from one reading. */
  const refresh = () => {
    reading ??= read().finally(() => {
      reading = null;
    });
    return reading;
  };
  const folder = resolve(runDir);
  const look = async () => {
    const live = await readLiveSlides(folder);
    run = withLive(run, live) ?? (await refresh());
    return live;
  };
  const against = options.against === undefined ? null : await readRunFolder(options.against);
  const reader = { folder, against, current: () => run, refresh, look };
  const blindnessOf: BlindnessOf = async (c) => {
    const { name, role } = c.get('user')!;
    const database = role === 'reader' ? await storage.find() : null;
    const hidden = database && (await new Reviews(database).blindness(name));
    return (id) => hidden?.get(id) ?? null;
  };
  addSlideRoutes(app, pictures, showLabels, reader, blindnessOf, model);
  addReviewRoutes(
    app,
    storage,
    () => run,
    async (id) => {
      const record = run.slides.get(id);
      return record ? slideView(record, run, pictures, showLabels) : null;
    },
  );

  app.get('*', (c) => {
    const file = pageFiles.get(c.req.path === '/' ? '/index.html' : c.req.path);
    if (!file && pageFiles.size === 0) return c.text('The page is not built. Run: npm run build\n', 503);
    return file ? bytesResponse(c, file.bytes, file.mime, file.tag, ASK) : c.notFound();
  });

  return {
    access,
    fetch: async (request, env) => app.fetch(request, env),
    close: async () => {
      await Promise.all([pictures.close(), storage.close(), model.close()]);
    },
  };
}

async function accessOf({ host = '127.0.0.1', accounts, token }: ViewerOptions): Promise<Access> {
  if (accounts !== undefined) {
    await readAccounts(accounts);
    return { mode: 'accounts', path: accounts };
  }
  if (token === undefined && isLoopback(host)) return { mode: 'open' };
  if (token !== undefined && token.length < LEAST_TOKEN) {
    const problem = `The token has ${token.length} characters, which can be guessed.`;
    throw new UserError('weak-token', problem, `Take at least ${LEAST_TOKEN}, or give none to have one made.`);
  }
  return { mode: 'token', token: token ?? createToken() };
}

function problemOf(error: Error): { code: string; status: number; message: string } {
  const { name, message } = error;
  if (error instanceof UserError) return { code: error.code, status: STATUS[error.code] ?? 422, message };
  if (name === 'TimeoutError') {
    const slow = 'The slide file did not answer in time. Check its drive, then reload.';
    return { code: 'too-slow', status: 503, message: slow };
  }
  if (name === 'AbortError') return { code: 'aborted', status: 499, message: 'Nobody waited for this any more.' };
  return { code: 'fault', status: 500, message: `The viewer made a mistake: ${message}` };
}

/**
 * Serves a run, on the loopback address unless told otherwise. Port 0 takes any free one.
 * @throws UserError `not-a-run`, `port-in-use`, `no-accounts`, `bad-accounts`, `weak-token`.
 */
export async function serveViewer(
  runDir: string,
  { port, ...options }: ViewerOptions & { readonly port: number },
): Promise<ServedViewer> {
  const { host = '127.0.0.1' } = options;
  const app = await createViewerApp(runDir, options);
  const server = createAdaptorServer({
    fetch: (request, env) => app.fetch(request, env as ViewerEnv['Bindings']),
  }) as Server;
  Object.assign(server, TIME_LIMITS_MS);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, resolve);
    });
  } catch (error) {
    await app.close();
    throw unservable(port, error);
  }
  const named = host.includes(':') ? `[${host}]` : host;
  return {
    url: `http://${named}:${(server.address() as AddressInfo).port}/`,
    token: app.access.mode === 'token' ? app.access.token : null,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
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
