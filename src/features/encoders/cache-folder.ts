/** Where weights are kept: LAMINA_CACHE, else the system's place for such things. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const { LAMINA_CACHE, XDG_CACHE_HOME } = environment;
  return LAMINA_CACHE ?? join(XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'lamina');
}
