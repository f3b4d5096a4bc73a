/** Memory as a stack that every task fills anew: what it is given lies at the foot, and what is made of it above. */

let top: usize = 0;

/** Takes memory from the foot. */
export function begin(): void {
  top = (__heap_base + 63) & ~63;
}

/** Room for so many bytes and a few that may be read or written past them. */
export function take(bytes: usize): usize {
  const at = top;
  top = (at + bytes + 64 + 63) & ~63;
  const pages = <i32>((top + 0xffff) >> 16);
  const missing = pages - memory.size();
  if (missing > 0 && memory.grow(missing) < 0) unreachable();
  return at;
}
