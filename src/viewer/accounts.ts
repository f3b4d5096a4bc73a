/** Who may use a viewer that others reach: a file of names, roles and hashed passwords. */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { messageOf, UserError } from '../errors.ts';

/** An admin sets up reviews and sees everybody's verdicts; a reader reads. */
export type Role = 'reader' | 'admin';
export const ROLES: readonly Role[] = ['reader', 'admin'];

export interface User {
  readonly name: string;
  readonly role: Role;
}

interface Account extends User {
  /** `scrypt:log2 N:r:p:salt:key`, salt and key in base64url. */
  readonly password: string;
}

const derive = promisify(scrypt) as (
  password: string,
  salt: Buffer,
  length: number,
  options: ScryptOptions,
) => Promise<Buffer>;
/** 32 MiB and about 0.1 s a guess (RFC 7914; OWASP's 2^15, 8, 3 in one lane less). */
const COST = { logN: 15, r: 8, p: 1 };
const KEY_BYTES = 32;
const LEAST_PASSWORD = 10;

/** @throws UserError `no-accounts`, `bad-accounts`. */
export async function readAccounts(path: string): Promise<Account[]> {
  const text = await readFile(path, 'utf8').catch((cause) => {
    const hint = `Make it: lamina user add NAME --role admin --accounts ${path}.`;
    throw new UserError('no-accounts', `${path} cannot be read (${messageOf(cause)}).`, hint, { cause });
  });
  try {
    const { users } = JSON.parse(text) as { users: Account[] };
    for (const { name, role, password } of users) {
      if (!isName(name) || !ROLES.includes(role) || !/^scrypt(:\d+){3}(:[\w-]+){2}$/.test(password)) {
        throw new Error(`the entry of ${JSON.stringify(name)} is not complete`);
      }
    }
    return users;
  } catch (cause) {
    const hint = 'Restore it from a copy, or make a new one with `lamina user add`.';
    throw new UserError('bad-accounts', `${path} is no accounts file: ${messageOf(cause)}.`, hint, { cause });
  }
}

/** Adds a user, or gives the one of that name a new role and password. @throws UserError `bad-user`, and as `readAccounts`. */
export async function saveUser(path: string, user: User, password: string): Promise<void> {
  if (!isName(user.name)) {
    throw new UserError('bad-user', `"${user.name}" is no name for a user.`, 'Take 1 to 60 letters, digits, . _ - @.');
  }
  if (password.length < LEAST_PASSWORD) {
    const problem = `The password has ${password.length} characters.`;
    throw new UserError('bad-user', problem, `Take at least ${LEAST_PASSWORD}.`);
  }
  const present = await readAccounts(path).catch((error) => {
    if ((error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') return [];
    throw error;
  });
  const users = [
    ...present.filter(({ name }) => name !== user.name),
    { ...user, password: await hashPassword(password) },
  ];
  const partial = `${path}.partial-${process.pid}`;
  try {
    await writeFile(partial, `${JSON.stringify({ users }, null, 2)}\n`, { mode: 0o600 });
    await chmod(partial, 0o600);
    await rename(partial, path);
  } catch (cause) {
    await rm(partial, { force: true });
    const hint = 'Check the folder and its permissions.';
    throw new UserError('cannot-write', `${path} cannot be written (${messageOf(cause)}).`, hint, { cause });
  }
}

/** The user whose password it is; null otherwise, after the same time whether there is such a user or not. */
export async function checkPassword(path: string, name: string, password: string): Promise<User | null> {
  const account = (await readAccounts(path)).find((one) => one.name === name);
  const right = await isPassword(password, account?.password ?? (await unknown));
  return account && right ? { name: account.name, role: account.role } : null;
}

async function hashPassword(password: string): Promise<string> {
  const { logN, r, p } = COST;
  const salt = randomBytes(16);
  const key = await derive(password, salt, KEY_BYTES, { N: 2 ** logN, r, p, maxmem: 2 ** (logN + 11) });
  return ['scrypt', logN, r, p, salt.toString('base64url'), key.toString('base64url')].join(':');
}

/** What a guess at nobody's password is compared with. */
const unknown = hashPassword(randomBytes(16).toString('hex'));

async function isPassword(password: string, hashed: string): Promise<boolean> {
  const [, logN, r, p, salt, key] = hashed.split(':') as [string, string, string, string, string, string];
  const options = { N: 2 ** Number(logN), r: Number(r), p: Number(p), maxmem: 2 ** (Number(logN) + 11) };
  const found = await derive(password, Buffer.from(salt, 'base64url'), KEY_BYTES, options);
  return timingSafeEqual(found, Buffer.from(key, 'base64url'));
}

function isName(name: unknown): name is string {
  return typeof name === 'string' && /^[\p{L}\p{N}._@-]{1,60}$/u.test(name);
}
