/** The database when it is needed: made with the first thing that is stored, never replaced behind anybody's back. */
import { stat } from 'node:fs/promises';
import { UserError } from '../errors.ts';
import { Database } from './database.ts';

export class Storage {
  private readonly url: string;
  private readonly authToken: string | undefined;
  /** The file; null for a server. */
  private readonly path: string | null;
  private opened: { database: Promise<Database>; file: number | null } | null = null;
  private hadFile = false;

  constructor(url: string, authToken?: string) {
    this.url = url;
    this.authToken = authToken;
    this.path = url.startsWith('file:') ? url.slice('file:'.length) : null;
  }

  /** Null while nothing was ever stored. @throws UserError `no-database`. */
  async find(): Promise<Database | null> {
    const file = await this.file();
    if (this.path !== null && file === null && !this.hadFile) return null;
    return this.open();
  }

  /** @throws UserError `no-database`, also when the file that was there is gone: what is written to it would be lost. */
  async open(): Promise<Database> {
    const file = await this.file();
    if (this.opened && this.opened.file !== file) {
      await this.close();
    }
    if (this.hadFile && file === null) {
      throw new UserError(
        'no-database',
        `The database ${this.path} is gone.`,
        'Put it back, or start the viewer again to begin a new one. What you entered stays on this page until then.',
      );
    }
    if (this.opened) return this.opened.database;
    const database = Database.open(this.url, this.authToken);
    this.opened = { database, file };
    try {
      await database;
      const made = await this.file();
      this.hadFile ||= made !== null;
      this.opened = { database, file: made };
    } catch (error) {
      this.opened = null;
      throw error;
    }
    return database;
  }

  async close(): Promise<void> {
    const { opened } = this;
    this.opened = null;
    await opened?.database.then((database) => database.close()).catch(() => {});
  }

  /** Tells a file from another one that took its name. */
  private async file(): Promise<number | null> {
    if (this.path === null) return 0;
    return (await stat(this.path).catch(() => null))?.ino ?? null;
  }
}
