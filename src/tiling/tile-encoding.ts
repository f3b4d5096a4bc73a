/** How the bytes of a stored tile become pixels: what a format file states and a decoder follows. */
export interface TileEncoding {
  readonly codec: 'jpeg' | 'jpeg2000' | 'deflate' | 'lzw' | 'packbits' | 'zstd' | 'webp' | 'png' | 'none';
  /** Size as stored, padding included; the last strip of a picture may be lower. */
  readonly width: number;
  readonly height: number;
  /**
   * What the decoded samples mean. JPEG says so in its own markers (spliced in where the file says it elsewhere),
   * so `ycbcr` is for JPEG 2000 alone.
   */
  readonly colour: 'rgb' | 'ycbcr' | 'grey' | 'grey-inverted';
  /** Samples per pixel as stored; what follows the third (or the first of a grey picture) is skipped. */
  readonly samples: number;
  /** Differences between neighbours are stored (TIFF predictor 2). */
  readonly differenced: boolean;
  /** One packed plane per sample, joined by `joinPlanes`. */
  readonly planar?: boolean;
  /** Samples are signed bytes; -128 is shown as black. */
  readonly signed?: boolean;
  /** The tile is shown at 1 / `reduce` of its stored size, each pixel the mean of those it replaces. */
  readonly reduce?: number;
}

/** Planes of one tile as one piece of bytes: before each its length in four bytes. */
export function joinPlanes(planes: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(planes.reduce((sum, plane) => sum + 4 + plane.length, 0));
  let at = 0;
  for (const plane of planes) {
    new DataView(joined.buffer).setUint32(at, plane.length);
    joined.set(plane, at + 4);
    at += 4 + plane.length;
  }
  return joined;
}

/** The planes that `joinPlanes` joined. */
export function splitPlanes(joined: Uint8Array): Uint8Array[] {
  const view = new DataView(joined.buffer, joined.byteOffset, joined.byteLength);
  const planes: Uint8Array[] = [];
  for (let at = 0; at < joined.length; ) {
    const end = at + 4 + view.getUint32(at);
    planes.push(joined.subarray(at + 4, end));
    at = end;
  }
  return planes;
}
