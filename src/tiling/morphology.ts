/** Binary pictures: growing, shrinking, and connected pieces by area. Masks are one byte per pixel, 0 or 1, row by row. */

export interface Mask {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** All pixels within `radius` of a set one. */
export function dilate({ width, height, data }: Mask, radius: number): Mask {
  const reach = Math.floor(radius);
  const grown = new Uint8Array(width * height);
  /** Set pixels left of each position of the row under the disc. */
  const counts = new Uint32Array(width + 1);
  for (let from = 0; from < height; from++) {
    for (let x = 0; x < width; x++) counts[x + 1] = counts[x]! + data[from * width + x]!;
    if (counts[width] === 0) continue;
    for (let row = Math.max(0, from - reach); row <= Math.min(height - 1, from + reach); row++) {
      const half = Math.floor(Math.sqrt(radius * radius - (row - from) ** 2));
      for (let x = 0; x < width; x++) {
        if (counts[Math.min(width, x + half + 1)]! > counts[Math.max(0, x - half)]!) grown[row * width + x] = 1;
      }
    }
  }
  return { width, height, data: grown };
}

/** The pixels whose whole neighbourhood within `radius` is set; beyond the border counts as set. */
export function erode(mask: Mask, radius: number): Mask {
  return invert(dilate(invert(mask), radius));
}

export function invert({ width, height, data }: Mask): Mask {
  return { width, height, data: data.map((value) => 1 - value) };
}

/** What is set in both of two masks of one size. */
export function intersect({ width, height, data }: Mask, other: Mask): Mask {
  return { width, height, data: data.map((value, i) => value & other.data[i]!) };
}

/** Without the connected pieces (side by side, not corner to corner) of fewer than `area` pixels. */
export function removeSmall({ width, height, data }: Mask, area: number): Mask {
  const kept = data.slice();
  const seen = new Uint8Array(width * height);
  const piece = new Int32Array(width * height);
  for (let seed = 0; seed < data.length; seed++) {
    if (!data[seed] || seen[seed]) continue;
    let count = 0;
    const visit = (pixel: number) => {
      if (!data[pixel] || seen[pixel]) return;
      seen[pixel] = 1;
      piece[count++] = pixel;
    };
    visit(seed);
    for (let next = 0; next < count; next++) {
      const pixel = piece[next]!;
      const x = pixel % width;
      if (x > 0) visit(pixel - 1);
      if (x < width - 1) visit(pixel + 1);
      if (pixel >= width) visit(pixel - width);
      if (pixel < data.length - width) visit(pixel + width);
    }
    if (count < area) for (let i = 0; i < count; i++) kept[piece[i]!] = 0;
  }
  return { width, height, data: kept };
}

/** With the gaps of fewer than `area` pixels filled. */
export function fillSmall(mask: Mask, area: number): Mask {
  return invert(removeSmall(invert(mask), area));
}
