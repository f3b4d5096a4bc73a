/** The files of a bundle under its temporary name, and how many bytes they come to. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { cannotWrite } from '../errors.ts';

export class BundleFiles {
  bytes = 0;
  private readonly folder: string;
  private readonly discreet: (text: string) => string;

  /** @param discreet takes out of JSON where files lie on this machine. */
  constructor(folder: string, discreet: (text: string) => string) {
    this.folder = folder;
    this.discreet = discreet;
  }

  /** @param path in the bundle, as in an address. */
  path(path: string): string {
    return join(this.folder, path);
  }

  /** @throws UserError `cannot-write`, `disk-full` */
  async write(path: string, data: string | Uint8Array): Promise<void> {
    const at = this.path(path);
    const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
    try {
      await mkdir(dirname(at), { recursive: true });
      await writeFile(at, bytes);
    } catch (error) {
      throw cannotWrite(at, error);
    }
    this.bytes += bytes.length;
  }

  async json(path: string, value: unknown): Promise<void> {
    await this.write(path, this.discreet(JSON.stringify(value)));
  }

  /** Takes a folder out again. @param bytes what it held. */
  async drop(path: string, bytes: number): Promise<void> {
    await rm(this.path(path), { recursive: true, force: true });
    this.bytes -= bytes;
  }
}
