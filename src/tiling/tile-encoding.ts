/** How the bytes of a stored tile become pixels: what a format file states and a decoder follows. */
export interface TileEncoding {
  readonly codec: 'jpeg' | 'jpeg2000' | 'deflate' | 'lzw' | 'packbits' | 'none';
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
}
