/**
 * What the viewer's server says and its page understands: the only module both sides share.
 *
 *     GET, POST, DELETE /api/session                      SessionView; POST {token} or {name, password} signs in
 *     GET /api/run                                        RunView
 *     GET /api/live                                       LiveView, under an ETag: what a page asks all the time
 *     GET /api/slides                                     SlideEntry[]
 *     GET /api/slides/:id                                 SlideView; with ?fresh as the run is now, not as the list was
 *     GET /api/slides/:id/tiles/:level/:column_:row.jpg   one tile of the picture, JPEG
 *     GET /api/slides/:id/scores?column=attention         scores, binary (see `decodeScores`); &run=against of the second run
 *     GET /api/slides/:id/tissue.geojson                  tissue outline, level-0 px
 *     GET /api/slides/:id/thumbnail.jpg
 *     GET /api/slides/:id/heatmap.png                     the picture the run drew
 *     GET /api/slides/:id/associated/:name                a small picture out of the slide file, JPEG
 *     POST /api/slides/:id/counterfactual                 CounterfactualEntry -> CounterfactualView
 *     POST /api/slides/:id/sources                        PatchEntry -> scores, binary: which patches feed this one
 *     POST /api/slides/:id/similar                        SimilarEntry -> SimilarView
 *     GET, POST /api/reviews                              ReviewView[]; POST ReviewSetup makes one
 *     GET /api/reviews/decided                            ids of slides with a verdict
 *     GET /api/reviews/:review/queue?reader=              QueueView
 *     GET /api/reviews/:review/slides/:id                 SlideView without what the reader may not see
 *     POST /api/reviews/:review/verdicts                  VerdictEntry -> Verdict, which is then on the disk
 *     GET /api/reviews/:review/summary                    ReviewSummary
 *     GET /api/reviews/:review/export.csv, .json, .geojson
 *     GET, POST, DELETE /api/slides/:id/annotations       GeoJSON features in level-0 px
 *     GET /api/audit                                      the log of all changes
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
  /** `bundle` is no server but the files that `lamina export` wrote. */
  readonly mode: 'open' | 'token' | 'accounts' | 'bundle';
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

/** `running` is being worked on now; `unfinished` was left so. */
export type SlideStatus = 'done' | 'no-tissue' | 'failed' | 'unfinished' | 'running';

/** How far a slide is that is being worked on. */
export interface LiveProgress {
  /** Patches read of `patches`. */
  readonly done: number;
  readonly patches: number;
  /** Prediction and scores are those of so many patches; 0 before there are any. */
  readonly predictedPatches: number;
}

export interface LiveView {
  /** Another one when the list of slides has changed in anything but the progress. */
  readonly revision: string;
  /** Those that are being worked on. */
  readonly slides: readonly (LiveProgress & { readonly id: string })[];
}

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
  /** Null unless the slide is being worked on; then prediction and probabilities are those of the patches so far. */
  readonly live: LiveProgress | null;
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
  /** What another run said of the same slide; null without one. */
  readonly against: AgainstView | null;
}

/** A second run of a slide, to be compared with the first: `?run=against` gives its scores. */
export interface AgainstView {
  /** Name of the run's folder. */
  readonly run: string;
  readonly scoreColumns: readonly string[];
  /** Side of its patches in level-0 px. */
  readonly patchLevel0Px: number;
}

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly levels: readonly ViewLevel[];
  /** Changes with the slide's content; part of the tiles' addresses, so that a browser never shows stale tiles. */
  readonly version: string;
  /**
   * When the tiles are files of Deep Zoom, as in a bundle: the number of the first of `levels` in Deep Zoom's count, which is
   * from the smallest.
   */
  readonly deepZoomTop?: number;
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
  /** Rectangles of level 0 that cannot be read. */
  readonly holes: readonly {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  }[];
  /** Places with tissue that are no patches, by reason. */
  readonly leftOut: Readonly<Record<string, number>>;
}

/** What travels with an annotation: QuPath's own properties, and ours under one name. */
export interface AnnotationProperties {
  readonly objectType: 'annotation';
  readonly classification?: { readonly name: string; readonly color: readonly [number, number, number] };
  readonly name?: string;
  /** QuPath shows it as the description. */
  readonly metadata?: { readonly ANNOTATION_DESCRIPTION?: string };
  readonly lamina?: { readonly tool: string; readonly author: string };
}

/** Regions to leave out, or to be left with: closed rings in level-0 px. */
export interface CounterfactualEntry {
  readonly mode: 'erase' | 'keep';
  readonly rings: readonly (readonly [number, number][])[];
}

export interface CounterfactualView {
  readonly patches: number;
  readonly kept: number;
  readonly classes: readonly string[];
  /** Probabilities in the order of the classes. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** On the server's device. */
  readonly seconds: number;
}

/** A patch, by its top-left corner in level-0 px. */
export interface PatchEntry {
  readonly x: number;
  readonly y: number;
}

export interface SimilarEntry extends PatchEntry {
  /** How many to find. */
  readonly count: number;
  /** Leaves out the patch's own slide. */
  readonly otherSlides: boolean;
}

export interface SimilarPatch extends PatchEntry {
  readonly slide: string;
  /** Side in level-0 px of its slide. */
  readonly side: number;
  /** Cosine of the angle between the two feature vectors; 1 for the same direction. */
  readonly similarity: number;
}

export interface SimilarView {
  /** The most similar first. */
  readonly patches: readonly SimilarPatch[];
  readonly searched: { readonly slides: number; readonly patches: number };
  /** Patches that touch or overlap the one that was asked about, which are left out. */
  readonly neighbours: number;
  /** Why slides were not searched, a sentence each. */
  readonly refused: readonly string[];
  readonly seconds: number;
}

/** What a reader thinks of the model's prediction. */
export type Opinion = 'agree' | 'disagree' | 'unsure';

/** A review to be made. */
export interface ReviewSetup {
  readonly name: string;
  readonly readers: readonly string[];
  /** Ids; every reader gets all of them, in an order of their own. */
  readonly slides: readonly string[];
  /** Of the orders. */
  readonly seed: number;
  /** Hides prediction, probabilities and heatmaps, or the true class, until the reader has decided. */
  readonly blindModel: boolean;
  readonly blindLabel: boolean;
}

export interface ReaderProgress {
  readonly name: string;
  readonly slides: number;
  readonly done: number;
  readonly medianSeconds: number | null;
  readonly opinions: Readonly<Record<Opinion, number>>;
}

export interface ReviewView {
  readonly id: string;
  readonly name: string;
  readonly seed: number;
  readonly blindModel: boolean;
  readonly blindLabel: boolean;
  readonly createdAt: string;
  readonly readers: readonly ReaderProgress[];
}

/** A verdict as the page sends it. */
export interface VerdictEntry {
  /** Made by the page, so that a verdict sent twice is stored once. */
  readonly id: string;
  readonly reader: string;
  readonly slide: string;
  /** Null when blinded to the model: then `label` is what the reader sees. */
  readonly opinion: Opinion | null;
  /** Whether the heatmap points at the right region. */
  readonly region?: 'right' | 'wrong' | null;
  /** The class that the reader thinks right. */
  readonly label?: string | null;
  readonly note?: string;
  /** Time spent looking, without the time that the page was hidden. */
  readonly seconds: number;
}

export interface Verdict {
  readonly id: string;
  readonly review: string;
  readonly reader: string;
  readonly slide: string;
  readonly opinion: Opinion;
  readonly region: 'right' | 'wrong' | null;
  /** The class that the reader stands for; `not X` when only that is known; null when unsure. */
  readonly label: string | null;
  readonly note: string;
  readonly seconds: number;
  readonly at: string;
}

export interface QueueView {
  readonly review: Omit<ReviewView, 'readers'>;
  readonly reader: string;
  readonly items: readonly { readonly slide: string; readonly verdict: Verdict | null }[];
  /** Place of the first slide without a verdict; null when all have one. */
  readonly next: number | null;
}

export interface PairAgreement {
  readonly readers: readonly [string, string];
  /** Slides that both have read. */
  readonly slides: number;
  /** Cohen's; null when it is not defined. */
  readonly kappa: number | null;
}

export interface Disagreement {
  readonly slide: string;
  readonly prediction: string | null;
  readonly label: string | null;
  readonly said: readonly { readonly reader: string; readonly said: string; readonly note: string }[];
}

export interface ReviewSummary {
  readonly review: ReviewView;
  readonly pairs: readonly PairAgreement[];
  /** Over the slides that all readers have read. */
  readonly fleiss: { readonly slides: number; readonly kappa: number | null };
  readonly disagreements: readonly Disagreement[];
}

/** The address of a slide's resource, relative to the page. */
export function slideUrl(id: string, resource = ''): string {
  return `api/slides/${encodeURIComponent(id)}${resource && `/${resource}`}`;
}

export function tileUrl(id: string, picture: Picture, level: number, column: number, row: number): string {
  const { version, deepZoomTop } = picture;
  const place = deepZoomTop === undefined ? `tiles/${level}` : `deep-zoom_files/${deepZoomTop - level}`;
  return `${slideUrl(id, `${place}/${column}_${row}.${deepZoomTop === undefined ? 'jpg' : 'jpeg'}`)}?v=${version}`;
}

/** Where a bundle keeps a score column: classes, whose names are in it, may have any letters, file names may not. */
export function scoresFile(column: string): string {
  const plain = encodeURIComponent(column).replaceAll('~', '%7E').replaceAll('*', '%2A').replaceAll('%', '~');
  return `scores/${plain}.bin`;
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
