/** One picture as a grid of stored tiles: what a format file supplies, per level and per associated image. */
import type { TileEncoding } from './tile-encoding.ts';

export interface TileGrid {
  readonly width: number;
  readonly height: number;
  readonly tileWidth: number;
  readonly tileHeight: number;
  readonly encoding: TileEncoding;
  /** Pixels by which stored tiles reach over the neighbours left and above them; none if not said. */
  readonly overlap?: number;
  /** Encoded bytes of one tile, ready to decode; null if the file marks the tile as empty. */
  read(column: number, row: number, signal?: AbortSignal): Promise<Uint8Array | null>;
}
