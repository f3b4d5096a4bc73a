/** Files damaged by a seeded random, as disks, networks and people damage them. */
import { integer, type Random } from '../src/random.ts';

const odd = [0, 1, 0x7fff, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff];

export function damage(whole: Buffer, random: Random): Buffer {
  if (random() < 0.12) return whole.subarray(0, integer(random, whole.length));
  const copy = Buffer.from(whole);
  const place = () => {
    // Where directories, headers and documents are: at the front and at the end.
    const near = integer(random, Math.min(copy.length, 3000));
    const where = random();
    return where < 0.4 ? near : where < 0.8 ? copy.length - 1 - near : integer(random, copy.length);
  };
  for (let changes = 1 + integer(random, 8); changes > 0; changes--) {
    const at = place();
    const kind = integer(random, 4);
    if (kind === 0) copy[at]! ^= 1 << integer(random, 8);
    else if (kind === 1 && at + 4 <= copy.length) copy.writeUInt32LE(odd[integer(random, odd.length)]!, at);
    else if (kind === 2) copy.fill(integer(random, 256), at, Math.min(copy.length, at + integer(random, 40)));
    else copy.copyWithin(at, place(), copy.length - integer(random, Math.min(copy.length, 200)));
  }
  return copy;
}
