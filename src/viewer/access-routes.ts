/** Signing in and out, and the check of every request. */
import { bodyLimit } from 'hono/body-limit';
import { deleteCookie, getCookie, setCookie } from 'hono/cookie';
import { type Access, Gate, SESSION_COOKIE } from './access.ts';
import type { SessionView } from './api.ts';
import { refusal } from './guard.ts';
import { RateLimit } from './rate-limit.ts';
import { fresh, problemResponse, type ViewerContext, type ViewerRoutes } from './responses.ts';

/** Of one address: a page panning fast asks for some hundred tiles a second, a person changes something now and then. */
const READS = { perSecond: 1000, burst: 5000 };
const CHANGES = { perSecond: 20, burst: 100 };
/** A GeoJSON of a thousand outlines is 10 MB; everything else is small. */
const MOST_BYTES = { import: 32 * 2 ** 20, other: 256 * 2 ** 10 };

const COOKIE = { httpOnly: true, sameSite: 'Strict', path: '/' } as const;

/** Refuses strangers; `c.get('user')` is then who asks. Everything but the page itself and signing in needs a session. */
export function addAccess(app: ViewerRoutes, access: Access, names: ReadonlySet<string>): void {
  const gate = new Gate(access);
  const reads = new RateLimit(READS);
  const changes = new RateLimit(CHANGES);

  app.use(async (c, next) => {
    const reason = refusal(c.req.raw, names);
    if (reason) return problemResponse('refused', reason, 403);
    const isRead = c.req.method === 'GET' || c.req.method === 'HEAD';
    // On this machine alone nobody is kept from reading as fast as the disk.
    const limit = isRead ? (access.mode === 'open' ? null : reads) : changes;
    if (limit?.take(addressOf(c)) === false) {
      return problemResponse('too-often', 'Too many requests. Wait a moment, then go on.', 429);
    }
    const user = gate.userOf(access.mode === 'open' ? undefined : getCookie(c, SESSION_COOKIE));
    if (user) c.set('user', user);
    else if (c.req.path.startsWith('/api/') && c.req.path !== '/api/session') {
      return problemResponse('sign-in', 'Sign in to see this run.', 401);
    }
    return next();
  });
  const tooLarge = () => problemResponse('too-large', 'This is more than the viewer takes at once. Split it.', 413);
  app.on(['POST', 'PUT', 'DELETE'], '*', (c, next) => {
    const maxSize = c.req.path.endsWith('/annotations/import') ? MOST_BYTES.import : MOST_BYTES.other;
    return bodyLimit({ maxSize, onError: tooLarge })(c, next);
  });

  const session = (c: ViewerContext) => {
    const user = c.get('user') ?? null;
    return { mode: access.mode, user } satisfies SessionView;
  };
  app.get('/api/session', (c) => fresh(c, session(c)));
  app.post('/api/session', async (c) => {
    const given: unknown = await c.req.json().catch(() => null);
    const texts = Object.fromEntries(Object.entries(given ?? {}).filter(([, value]) => typeof value === 'string'));
    const result = await gate.signIn(texts, addressOf(c));
    if (typeof result === 'string') return notSignedIn(result);
    setCookie(c, SESSION_COOKIE, result.session, COOKIE);
    c.set('user', result.user);
    return fresh(c, session(c));
  });
  app.delete('/api/session', (c) => {
    gate.signOut(getCookie(c, SESSION_COOKIE));
    deleteCookie(c, SESSION_COOKIE, COOKIE);
    return fresh(c, { mode: access.mode, user: null } satisfies SessionView);
  });

  // The address that is printed holds the token; the one in the browser's history does not.
  app.get('/', async (c, next) => {
    const token = c.req.query('token');
    if (token === undefined || access.mode !== 'token') return next();
    const result = await gate.signIn({ token }, addressOf(c));
    if (typeof result === 'string') return notSignedIn(result);
    setCookie(c, SESSION_COOKIE, result.session, COOKIE);
    return c.redirect('/', 303);
  });
}

function notSignedIn(why: 'wrong' | 'too-often'): Response {
  return why === 'wrong'
    ? problemResponse('wrong', 'That is not right. Check name, password or token, and try again.', 403)
    : problemResponse('too-often', 'Too many attempts. Wait a minute, then try again.', 429);
}

/** The other end of the connection; all the same where there is none, as in tests. */
function addressOf(c: ViewerContext): string {
  return c.env?.incoming?.socket.remoteAddress ?? 'local';
}
