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

/** Decoded samples: interleaved, `samples` per pixel, 8 bits. */
export interface Samples {
  readonly width: number;
  readonly height: number;
  readonly samples: number;
  readonly data: Uint8Array;
  /** How many times smaller than stored it was decoded; 1 if not said. */
  readonly reduced?: number;
  /** How far right and below the middle of a pixel the middle of those it stands for lies, in pixels; 0 if not said. */
  readonly phase?: number;
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

/**
 * Refuses a picture that says it is larger than its tile, before a decoder makes room for it.
 * @throws Error with both sizes.
 */
export function checkFits(declared: { width: number; height: number }, { width, height }: TileEncoding): void {
  if (declared.width > width || declared.height > height) {
    throw new Error(`says it has ${declared.width} x ${declared.height} pixels in a tile of ${width} x ${height}`);
  }
}
