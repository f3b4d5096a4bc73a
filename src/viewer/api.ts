/**
 * What the viewer's server says and its page understands: the only module both sides share.
 *
 *     GET, POST, DELETE /api/session                      SessionView; POST {token} or {name, password} signs in
 *     GET /api/run                                        RunView
 *     GET /api/slides                                     SlideEntry[]
 *     GET /api/slides/:id                                 SlideView
 *     GET /api/slides/:id/tiles/:level/:column_:row.jpg   one tile of the picture, JPEG
 *     GET /api/slides/:id/scores?column=attention         scores, binary (see `decodeScores`)
 *     GET /api/slides/:id/tissue.geojson                  tissue outline, level-0 px
 *     GET /api/slides/:id/thumbnail.jpg
 *     GET /api/slides/:id/heatmap.png                     the picture the run drew
 *     GET /api/slides/:id/associated/:name                a small picture out of the slide file, JPEG
 *
 * Anything that goes wrong is answered with a `Problem`. Coordinates are level-0 pixels.
 */

/** A sentence for the person: what happened, and what to do now. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

/** How one gets in, and as whom one is. */
export interface SessionView {
  readonly mode: 'open' | 'token' | 'accounts';
  readonly user: { readonly name: string; readonly role: 'reader' | 'admin' } | null;
}

export interface RunView {
  /** Name of the run's folder. */
  readonly name: string;
  /** Of the program that made the run. */
  readonly version: string | null;
  readonly startedAt: string | null;
  /** Null when the run has not ended. */
  readonly finishedAt: string | null;
  readonly model: ModelView | null;
  readonly warnings: readonly string[];
}

export interface ModelView {
  readonly name: string;
  readonly type: string;
  /** False for random weights, whose attention has no meaning. */
  readonly trained: boolean;
}

export type SlideStatus = 'done' | 'no-tissue' | 'failed' | 'unfinished';

export interface ClassProbability {
  readonly name: string;
  readonly probability: number;
}

/** One line of the slide list. What the run does not know is null. */
export interface SlideEntry {
  readonly id: string;
  readonly patient: string | null;
  readonly status: SlideStatus;
  readonly prediction: string | null;
  /** In the model's order of classes; empty without a prediction. */
  readonly probabilities: readonly ClassProbability[];
  /** The true class, when the manifest gave it. */
  readonly label: string | null;
  readonly nPatches: number | null;
  readonly hasThumbnail: boolean;
  /** Why it failed, or what it was warned of. */
  readonly warnings: readonly string[];
}

/** A level of the picture, full resolution first. */
export interface ViewLevel {
  readonly width: number;
  readonly height: number;
  /** Level-0 px per pixel of this level, by axis. */
  readonly scaleX: number;
  readonly scaleY: number;
  readonly tileWidth: number;
  readonly tileHeight: number;
}

/** Everything the page needs to show one slide. */
export interface SlideView extends SlideEntry {
  readonly picture: Picture | null;
  /** Why there is no picture: the file was moved, cannot be read, is another slide than the one that was run. */
  readonly pictureProblem: string | null;
  readonly facts: SlideFacts | null;
  readonly model: ModelView | null;
  /** Score columns of the bag, `attention` first when there is one. */
  readonly scoreColumns: readonly string[];
  /** Why there are no scores. */
  readonly scoresProblem: string | null;
  readonly hasTissue: boolean;
  /** Names of the small pictures of the slide that may be shown. */
  readonly associated: readonly string[];
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly levels: readonly ViewLevel[];
  /** Changes with the slide's content; part of the tiles' addresses, so that a browser never shows stale tiles. */
  readonly version: string;
}

export interface SlideFacts {
  readonly format: string;
  readonly vendor: string | null;
  /** Micrometres per level-0 px. */
  readonly mpp: number | null;
  /** `file`, `flag`, `manifest`, `objective` or `none`. */
  readonly mppSource: string;
  readonly objectivePower: number | null;
  readonly width: number;
  readonly height: number;
  readonly tissueAreaUm2: number | null;
  readonly patchPx: number;
  /** Side of a patch in level-0 px. */
  readonly patchLevel0Px: number;
  readonly patchMpp: number | null;
  readonly unreadableTiles: number;
}

/** The address of a slide's resource, relative to the page. */
export function slideUrl(id: string, resource = ''): string {
  return `api/slides/${encodeURIComponent(id)}${resource && `/${resource}`}`;
}

export function tileUrl(id: string, version: string, level: number, column: number, row: number): string {
  return `${slideUrl(id, `tiles/${level}/${column}_${row}.jpg`)}?v=${version}`;
}

/** Scores of n patches: where each lies and its value, NaN when it has none. */
export interface Scores {
  /** n x 2, level-0 px of each patch's top-left corner (x, y). */
  readonly coords: Int32Array;
  /** n. */
  readonly values: Float32Array;
}

/** Layout: n x 2 Int32 coordinates, then n Float32 values, little-endian, nothing else; so n = bytes / 12. */
export function encodeScores({ coords, values }: Scores): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(12 * values.length);
  new Int32Array(bytes.buffer, 0, 2 * values.length).set(coords);
  new Float32Array(bytes.buffer, 8 * values.length).set(values);
  return bytes;
}

export function decodeScores(buffer: ArrayBuffer): Scores {
  if (buffer.byteLength % 12 !== 0) throw new Error(`Scores of ${buffer.byteLength} bytes: not a multiple of 12.`);
  const count = buffer.byteLength / 12;
  return { coords: new Int32Array(buffer, 0, 2 * count), values: new Float32Array(buffer, 8 * count) };
}
