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
  const { starts, ends } = runsOf(data, width);
  for (let run = 0; run < starts.length; run++) {
    const from = Math.floor(starts[run]! / width);
    const left = starts[run]! - from * width;
    const right = ends[run]! - from * width;
    for (let row = Math.max(0, from - reach); row <= Math.min(height - 1, from + reach); row++) {
      const half = Math.floor(Math.sqrt(radius * radius - (row - from) ** 2));
      grown.fill(1, row * width + Math.max(0, left - half), row * width + Math.min(width, right + half));
    }
  }
  return { width, height, data: grown };
}

/** The pixels whose whole neighbourhood within `radius` is set; beyond the border counts as set. */
export function erode(mask: Mask, radius: number): Mask {
  return invert(dilate(invert(mask), radius));
}

export function invert({ width, height, data }: Mask): Mask {
  const opposite = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) opposite[i] = 1 - data[i]!;
  return { width, height, data: opposite };
}

/** What is set in both of two masks of one size. */
export function intersect({ width, height, data }: Mask, other: Mask): Mask {
  const both = new Uint8Array(data.length);
  for (let i = 0; i < data.length; i++) both[i] = data[i]! & other.data[i]!;
  return { width, height, data: both };
}

/** Without the connected pieces (side by side, not corner to corner) of fewer than `area` pixels. */
export function removeSmall({ width, height, data }: Mask, area: number): Mask {
  const { starts, ends } = runsOf(data, width);
  const pieces = joinedRuns(starts, ends, width);
  const areas = new Uint32Array(starts.length);
  for (let run = 0; run < starts.length; run++) areas[pieces[run]!]! += ends[run]! - starts[run]!;
  const kept = new Uint8Array(width * height);
  for (let run = 0; run < starts.length; run++) {
    if (areas[pieces[run]!]! >= area) kept.fill(1, starts[run], ends[run]);
  }
  return { width, height, data: kept };
}

/** First pixels of the runs of set pixels, and those after their last, row by row. */
function runsOf(data: Uint8Array, width: number): { starts: number[]; ends: number[] } {
  const starts: number[] = [];
  const ends: number[] = [];
  for (let at = 0; at < data.length; ) {
    if (data[at] === 0) {
      at++;
      continue;
    }
    const rowEnd = at - (at % width) + width;
    starts.push(at);
    while (at < rowEnd && data[at] === 1) at++;
    ends.push(at);
  }
  return { starts, ends };
}

/** For each run, the first run of its connected piece. */
function joinedRuns(starts: readonly number[], ends: readonly number[], width: number): Uint32Array {
  const parents = Uint32Array.from(starts.keys());
  const first = (run: number): number => {
    while (parents[run] !== run) run = parents[run] = parents[parents[run]!]!;
    return run;
  };
  for (let run = 0, above = 0; run < starts.length; run++) {
    while (ends[above]! <= starts[run]! - width) above++;
    for (let other = above; starts[other]! < ends[run]! - width; other++) {
      const a = first(run);
      const b = first(other);
      if (a < b) parents[b] = a;
      else parents[a] = b;
    }
  }
  for (let run = 0; run < parents.length; run++) parents[run] = first(run);
  return parents;
}

/** With the gaps of fewer than `area` pixels filled. */
export function fillSmall(mask: Mask, area: number): Mask {
  return invert(removeSmall(invert(mask), area));
}
