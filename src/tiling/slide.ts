/**
 * The contract of a slide: what every format looks like to the rest of the program.
 *
 * Regions are asked for by the level-0 position of their top-left corner and their size in pixels of one level,
 * as in OpenSlide; only level-0 coordinates leave this folder.
 */
import type { Level0Px, LevelPx, Mpp, MppSource } from '../units.ts';

export interface SlideLevel {
  readonly width: LevelPx;
  readonly height: LevelPx;
  /** Level-0 pixels per pixel of this level, >= 1; the mean of both axes, not necessarily an integer. */
  readonly downsample: number;
  readonly tileWidth: LevelPx;
  readonly tileHeight: LevelPx;
}

export interface Scale {
  /** Micrometres per level-0 pixel, null when neither the file nor the caller says. */
  readonly mpp: Mpp | null;
  readonly source: MppSource;
}

export interface Raster {
  readonly width: number;
  readonly height: number;
  /** RGBA, 8 bits, row by row. Alpha 0 marks pixels that the slide does not have (over its edge, unreadable tile). */
  readonly data: Uint8Array;
}

/** An opaque picture: RGB, 8 bits, row by row. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** Patches for an encoder are waited for now, the survey of the next slide is for later. */
export type Urgency = 'now' | 'later';

export interface TileOptions {
  readonly signal?: AbortSignal | undefined;
  /** Shared memory of at least width x height x 3 bytes to decode into; `data` is then a view of it. */
  readonly into?: SharedArrayBuffer | undefined;
  /**
   * 1, 2, 4 or 8: every pixel of the answer is the mean of so many each way, fewer at the tile's right and lower end. Where the
   * codec can, it is decoded at that size at once.
   */
  readonly reduce?: number;
  readonly urgency?: Urgency;
}

/** A stored tile as it lies in the file, ready for a browser when `mime` is a picture type that browsers read. */
export interface StoredTile {
  readonly bytes: Uint8Array;
  readonly mime: 'image/jpeg' | 'image/jp2' | 'application/octet-stream';
}

/** A stored tile that could not be read or decoded: a hole in the slide, not the end of it. */
export interface BadTile {
  readonly level: number;
  readonly column: number;
  readonly row: number;
  readonly reason: string;
}

export interface Slide {
  /** File path or URL, for messages. */
  readonly source: string;
  /** `aperio-svs`, `tiff`, … */
  readonly format: string;
  readonly vendor: string | null;
  /** Full resolution first. */
  readonly levels: readonly SlideLevel[];
  readonly scale: Scale;
  /** 20, 40, … as the scanner states it. */
  readonly objectivePower: number | null;
  readonly properties: Readonly<Record<string, string>>;
  /** Names of associated images: `thumbnail`, `label`, `macro`. */
  readonly associated: readonly string[];
  /** The bad tiles met so far, each once. */
  readonly unreadable: readonly BadTile[];

  /**
   * Pixels of one level. The rectangle may hang over the edge; what lies outside, and a bad tile, has alpha 0.
   * A corner between two pixels of the level is read between them (bilinear, as OpenSlide).
   */
  readRegion(
    x: Level0Px,
    y: Level0Px,
    level: number,
    width: LevelPx,
    height: LevelPx,
    signal?: AbortSignal,
  ): Promise<Raster>;
  /**
   * One stored tile, decoded; edge tiles are cut to the level's size. Null if the file marks the tile as empty.
   * @throws UserError `unreadable-tile`
   */
  readTile(level: number, column: number, row: number, signal?: AbortSignal): Promise<Raster | null>;
  /** As `readTile`, without alpha: the fast path of the patch stream. */
  readTileRgb(level: number, column: number, row: number, options?: TileOptions): Promise<RgbImage | null>;
  /** One stored tile as encoded bytes, with tables and colour marker spliced in so that it stands alone; null if it cannot. */
  readStoredTile(level: number, column: number, row: number, signal?: AbortSignal): Promise<StoredTile | null>;
  readAssociated(name: string): Promise<Raster>;
  close(): Promise<void>;
}
