/** Files that are either whole or not there: written under a temporary name and renamed. */
import { mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { cannotWrite } from '../errors.ts';

/** @throws UserError `cannot-write`, `disk-full` */
export async function writeWhole(path: string, data: string | Uint8Array): Promise<void> {
  const temporary = `${path}.partial`;
  try {
    await writeFile(temporary, data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw cannotWrite(path, error);
  }
}

export async function writeJson(path: string, value: unknown): Promise<void> {
  await writeWhole(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** @throws UserError `cannot-write`, `disk-full` */
export async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error) => {
    throw cannotWrite(path, error);
  });
}
