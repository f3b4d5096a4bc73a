/** How much memory this process may still take: of the machine, and of the cgroup (a container, a batch job) that it runs in. */
import { readFileSync } from 'node:fs';
import { freemem } from 'node:os';
import { join } from 'node:path';

/** In bytes. */
export function availableMemory(): number {
  // Node counts what a cgroup has read of files as used; the system gives that back when it is wanted.
  return Math.min(freemem(), process.availableMemory() + fileCache());
}

/** Bytes of files that the cgroup of this process holds and does not use; 0 where nothing says so. @param root of the file system, for tests. */
export function fileCache(root = '/'): number {
  const read = (...path: string[]) => {
    try {
      return readFileSync(join(root, ...path), 'utf8');
    } catch {
      return '';
    }
  };
  const groups = read('proc/self/cgroup');
  const [, unified] = /^0::(\/.*)$/m.exec(groups) ?? [];
  const [, own] = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(\/.*)$/m.exec(groups) ?? [];
  // In a container the path may be that of the host, and the container's own files lie at the top.
  const folders = [own && `memory${own}`, own && 'memory', unified, unified && '/'];
  for (const folder of folders) {
    if (!folder) continue;
    const stat = read('sys/fs/cgroup', folder, 'memory.stat');
    // Version 1 counts with the groups below, which its limit is for, under a name of its own.
    const [, bytes] = /^total_inactive_file (\d+)$/m.exec(stat) ?? /^inactive_file (\d+)$/m.exec(stat) ?? [];
    if (bytes) return Number(bytes);
  }
  return 0;
}
