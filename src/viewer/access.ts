/** Who may ask: everybody on this machine, whoever has the token, or the users of an accounts file; and their sessions. */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { checkPassword, type User } from './accounts.ts';
import { RateLimit } from './rate-limit.ts';

/** `open` is for the loopback address only. */
export type Access =
  | { readonly mode: 'open' }
  | { readonly mode: 'token'; readonly token: string }
  | { readonly mode: 'accounts'; readonly path: string };

export const SESSION_COOKIE = 'lamina_session';
/** A session ends when it was not used for a working day. */
const SESSION_MS = 12 * 3600_000;
const MOST_SESSIONS = 10_000;
/** Guesses at a password: a few a minute, per address and per name. */
const GUESSES = { perSecond: 1 / 12, burst: 8 };
/** Checks of passwords at one time: each takes 32 MiB. */
const MOST_CHECKS = 4;

/** Everybody on this machine may do everything. */
const LOCAL: User = { name: '', role: 'admin' };
/** A token says nothing of who has it. */
const HOLDER: User = { name: '', role: 'admin' };

export type SignIn = { readonly user: User; readonly session: string } | 'wrong' | 'too-often';

export class Gate {
  readonly access: Access;
  private readonly sessions = new Map<string, { user: User; used: number }>();
  private readonly guesses = new RateLimit(GUESSES);
  private checks = 0;

  constructor(access: Access) {
    this.access = access;
  }

  /** Whose session it is; null when nobody's. @param session the cookie's value. */
  userOf(session: string | undefined): User | null {
    if (this.access.mode === 'open') return LOCAL;
    const found = session === undefined ? undefined : this.sessions.get(digest(session).toString('hex'));
    if (!found || Date.now() - found.used > SESSION_MS) return null;
    found.used = Date.now();
    return found.user;
  }

  async signIn(given: { token?: string; name?: string; password?: string }, address: string): Promise<SignIn> {
    const { access } = this;
    const keys = [`address ${address}`, `name ${given.name ?? ''}`];
    // Both are counted, also when the first refuses.
    const allowed = keys.map((key) => this.guesses.take(key)).every(Boolean);
    if (!allowed || this.checks >= MOST_CHECKS) return 'too-often';
    this.checks++;
    try {
      const user = await this.check(access, given);
      if (!user) return 'wrong';
      for (const key of keys) this.guesses.forget(key);
      return { user, session: this.start(user) };
    } finally {
      this.checks--;
    }
  }

  signOut(session: string | undefined): void {
    if (session !== undefined) this.sessions.delete(digest(session).toString('hex'));
  }

  private async check(access: Access, given: { token?: string; name?: string; password?: string }) {
    if (access.mode === 'token') {
      return given.token !== undefined && timingSafeEqual(digest(given.token), digest(access.token)) ? HOLDER : null;
    }
    if (access.mode === 'open') return LOCAL;
    if (given.name === undefined || given.password === undefined || given.password.length > 1000) return null;
    return checkPassword(access.path, given.name, given.password);
  }

  private start(user: User): string {
    const session = randomBytes(32).toString('base64url');
    this.sessions.set(digest(session).toString('hex'), { user, used: Date.now() });
    for (const [key, { used }] of this.sessions) {
      if (this.sessions.size <= MOST_SESSIONS && Date.now() - used <= SESSION_MS) break;
      this.sessions.delete(key);
    }
    return session;
  }
}

export function createToken(): string {
  return randomBytes(24).toString('base64url');
}

/** Of equal length whatever was given, so that a comparison tells nothing. */
function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
