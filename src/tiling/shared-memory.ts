/**
 * Shared memory for tiles and batches that is used again, also by the next slide: fresh memory costs more than what is done in it,
 * and what is thrown away keeps the garbage collector busy.
 */

/** What may lie unused. */
const mostBytes = 192 * 1024 * 1024;

const unused = new Map<number, SharedArrayBuffer[]>();
let unusedBytes = 0;

/** Its content is whatever was in it before. */
export function takeMemory(bytes: number): SharedArrayBuffer {
  const memory = unused.get(bytes)?.pop();
  if (!memory) return new SharedArrayBuffer(bytes);
  unusedBytes -= bytes;
  return memory;
}

/** Nobody may look at it, or write into it, any more. */
export function giveMemory(memory: SharedArrayBuffer): void {
  const bytes = memory.byteLength;
  if (unusedBytes + bytes > mostBytes) {
    // Sizes that nobody asks for any more would fill it.
    unused.clear();
    unusedBytes = 0;
  }
  if (bytes > mostBytes) return;
  const alike = unused.get(bytes);
  if (alike) alike.push(memory);
  else unused.set(bytes, [memory]);
  unusedBytes += bytes;
}
