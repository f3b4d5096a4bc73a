/**
 * The viewer's database: what people entered. A file beside the run by default, a libSQL server when a lab outgrows one machine.
 *
 * A change is acknowledged when it is on the disk (`synchronous = FULL`), and comes with its line in the audit log or not at all.
 * Log and verdicts only grow: the database itself refuses to change or delete them, and each line of the log carries the hash
 * of the one before.
 */
import { createHash } from 'node:crypto';
import { type Client, createClient, type InArgs, type InStatement, type Row } from '@libsql/client';
import { messageOf, UserError } from '../errors.ts';

export interface AuditLine {
  readonly number: number;
  readonly at: string;
  readonly who: string;
  readonly what: string;
  readonly detail: string;
  readonly hash: string;
}

const SCHEMA = [
  `CREATE TABLE IF NOT EXISTS review (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, seed INTEGER NOT NULL, blind_model INTEGER NOT NULL,
    blind_label INTEGER NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL) STRICT`,
  `CREATE TABLE IF NOT EXISTS assignment (
    review TEXT NOT NULL REFERENCES review (id), reader TEXT NOT NULL, place INTEGER NOT NULL, slide TEXT NOT NULL,
    PRIMARY KEY (review, reader, place), UNIQUE (review, reader, slide)) STRICT`,
  `CREATE TABLE IF NOT EXISTS verdict (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, review TEXT NOT NULL, reader TEXT NOT NULL, slide TEXT NOT NULL,
    opinion TEXT NOT NULL, region TEXT, label TEXT, note TEXT NOT NULL, seconds REAL NOT NULL, at TEXT NOT NULL) STRICT`,
  `CREATE TABLE IF NOT EXISTS annotation (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL, slide TEXT NOT NULL, author TEXT NOT NULL, at TEXT NOT NULL,
    feature TEXT) STRICT`,
  'CREATE INDEX IF NOT EXISTS annotation_of_slide ON annotation (slide)',
  `CREATE TABLE IF NOT EXISTS audit (
    number INTEGER PRIMARY KEY, at TEXT NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL,
    hash TEXT NOT NULL) STRICT`,
  ...['verdict', 'annotation', 'audit'].flatMap((table) =>
    ['UPDATE', 'DELETE'].map(
      (change) => `CREATE TRIGGER IF NOT EXISTS ${table}_no_${change.toLowerCase()} BEFORE ${change} ON ${table}
      BEGIN SELECT RAISE(ABORT, '${table} only grows'); END`,
    ),
  ),
];

/** Another process may be writing: so many times a change is tried again. */
const TRIES = 20;

export class Database {
  private readonly client: Client;
  private readonly url: string;
  /** One change after another, so that the log is one chain. */
  private last: Promise<unknown> = Promise.resolve();

  private constructor(client: Client, url: string) {
    this.client = client;
    this.url = url;
  }

  /**
   * @param url `file:PATH`, or the address of a libSQL server.
   * @throws UserError `no-database`.
   */
  static async open(url: string, authToken?: string): Promise<Database> {
    try {
      const client = createClient({ url, authToken, timeout: 5000 });
      if (url.startsWith('file:')) {
        await client.execute('PRAGMA journal_mode = WAL');
        await client.execute('PRAGMA synchronous = FULL');
      }
      await client.batch(SCHEMA, 'write');
      return new Database(client, url);
    } catch (cause) {
      const hint = 'Give another place with --database, or restore the file from a copy.';
      throw new UserError('no-database', `The database ${url} cannot be opened (${messageOf(cause)}).`, hint, {
        cause,
      });
    }
  }

  /** @throws UserError `no-database` */
  async rows<T = Row>(sql: string, args: InArgs = []): Promise<T[]> {
    try {
      return (await this.client.execute({ sql, args })).rows as T[];
    } catch (cause) {
      throw this.failed(cause);
    }
  }

  /**
   * Makes a change together with its line in the audit log; resolves when both are on the disk.
   * @throws UserError `no-database`: then nothing of it was stored.
   */
  async change(who: string, what: string, detail: object, statements: readonly InStatement[]): Promise<void> {
    const turn = this.last.then(() => this.write(who, what, JSON.stringify(detail), statements));
    this.last = turn.catch(() => {});
    return turn;
  }

  /** The number of the first line of the log whose hash is not that of its content and the line before; null: all are right. */
  async firstBrokenLine(): Promise<number | null> {
    let before = '';
    const lines = await this.rows<AuditLine>('SELECT * FROM audit ORDER BY number');
    for (const [i, line] of lines.entries()) {
      if (line.number !== i + 1 || line.hash !== hashOf(before, line)) return line.number;
      before = line.hash;
    }
    return null;
  }

  async close(): Promise<void> {
    await this.last;
    // So that a copy of the one file is a copy of everything.
    if (this.url.startsWith('file:')) await this.client.execute('PRAGMA wal_checkpoint(TRUNCATE)').catch(() => {});
    this.client.close();
  }

  private async write(who: string, what: string, detail: string, statements: readonly InStatement[]): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        const [before] = await this.rows<AuditLine>('SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1');
        const line = { number: (before?.number ?? 0) + 1, at: new Date().toISOString(), who, what, detail };
        const hash = hashOf(before?.hash ?? '', line);
        const log = {
          sql: 'INSERT INTO audit (number, at, who, what, detail, hash) VALUES (?, ?, ?, ?, ?, ?)',
          args: [line.number, line.at, who, what, detail, hash],
        };
        await this.client.batch([log, ...statements], 'write');
        return;
      } catch (cause) {
        // Another process took the number, or holds the file.
        const another = /audit\.number|SQLITE_BUSY|database is locked/.test(messageOf(cause));
        if (!another || tries === TRIES) throw cause instanceof UserError ? cause : this.failed(cause);
        await new Promise((resolve) => setTimeout(resolve, 10 * tries));
      }
    }
  }

  private failed(cause: unknown): UserError {
    const full = /SQLITE_FULL|disk is full|ENOSPC/.test(messageOf(cause));
    return new UserError(
      'no-database',
      full
        ? 'The disk is full, so nothing can be stored.'
        : `The database ${this.url} does not answer (${messageOf(cause)}).`,
      full
        ? 'Make room; what you entered stays on this page until then.'
        : 'What you entered stays on this page; try again.',
      { cause },
    );
  }
}

function hashOf(before: string, { number, at, who, what, detail }: Omit<AuditLine, 'hash'>): string {
  return createHash('sha256')
    .update(JSON.stringify([before, number, at, who, what, detail]))
    .digest('hex');
}
