/**
 * The results of a run as they lie on disk: one type per JSON file of a run folder, for those who write it and those who read it.
 *
 *     RUN/run.json                     RunResult
 *     RUN/slides/<id>/slide.json       SlideResult
 *     RUN/slides/<id>/prediction.json  PredictionResult
 *     RUN/slides/.<id>.partial/<token>/live/progress.json  LiveResult, while the slide is being worked on
 *
 * Plain data, no undefined: what is not known is null. Times are ISO 8601 in UTC, durations seconds.
 */
import type { Level0Px, LevelPx, Mpp, MppSource } from '../units.ts';

export interface LevelResult {
  readonly width: LevelPx;
  readonly height: LevelPx;
  /** Level-0 pixels per pixel of this level. */
  readonly downsample: number;
  readonly tileWidth: LevelPx;
  readonly tileHeight: LevelPx;
}

/** Side of the square patches of a slide, in the two planes that matter. */
export interface PatchSize {
  /** As the encoder saw it. */
  readonly px: number;
  readonly level0Px: Level0Px;
  /** Micrometres per pixel as the encoder saw it. */
  readonly mpp: Mpp | null;
}

/** A rectangle of the slide that cannot be read. */
export interface HoleResult {
  readonly x: Level0Px;
  readonly y: Level0Px;
  readonly width: Level0Px;
  readonly height: Level0Px;
}

/** `slide.json`: what was read from a slide, and how much of it was used. */
export interface SlideResult {
  /** Unique in the run; the name of the slide's folder. */
  readonly id: string;
  /** Absolute path or URL of the slide itself. */
  readonly source: string;
  /** `sha256:…`, or `head:…` (size, time and head) for huge files. */
  readonly hash: string;
  readonly format: string;
  readonly vendor: string | null;
  /** Micrometres per level-0 pixel. */
  readonly mpp: Mpp | null;
  readonly mppSource: MppSource;
  readonly objectivePower: number | null;
  /** Size of level 0. */
  readonly width: Level0Px;
  readonly height: Level0Px;
  /** Full resolution first. */
  readonly levels: readonly LevelResult[];
  /** Square micrometres under the tissue mask; null when the scale is not known. */
  readonly tissueAreaUm2: number | null;
  readonly patch: PatchSize;
  /** Patches in the bag. */
  readonly nPatches: number;
  /** Places with some tissue that are no patches, by reason: `little-tissue`, `not-chosen`, `blurred`, `pen`, `unreadable`. */
  readonly leftOut: Readonly<Record<string, number>>;
  /** Stored tiles that could not be decoded; patches on them are left out. */
  readonly unreadableTiles: number;
  /** Where those tiles lie; those of different levels may overlap. */
  readonly holes: readonly HoleResult[];
  /** Whole sentences for the person, such as an assumed scale. */
  readonly warnings: readonly string[];
}

/** `prediction.json`: what the model said about one slide. */
export interface PredictionResult {
  readonly slideId: string;
  /** Hash of the slide that was predicted; must equal the one in `slide.json`. */
  readonly slideHash: string;
  readonly model: {
    readonly name: string;
    readonly hash: string;
    /** `lbmamba`, `abmil`, … */
    readonly type: string;
    /** False for random weights, whose attention has no meaning. */
    readonly trained: boolean;
  };
  /** Class names; `logits` and `probabilities` follow their order. */
  readonly classes: readonly string[];
  readonly logits: readonly number[];
  readonly probabilities: readonly number[];
  /** The class with the highest probability. */
  readonly prediction: string;
  /** The true class when the manifest gives it. */
  readonly label: string | null;
  /** Name of the device that computed it. */
  readonly device: string;
}

/** `live/progress.json`: how far a slide is, and what the model says of its patches so far. Gone when the slide is finished. */
export interface LiveResult {
  /** As known by now: patches that cannot be read or are blurred are still counted. */
  readonly slide: SlideResult;
  /** Patches that were encoded or left out, of `patches`. */
  readonly done: number;
  readonly patches: number;
  /** Of the first patches of the bag, whose scores are in `live/scores.arrow`; null before there is one. */
  readonly prediction: PredictionResult | null;
  /** How many patches that are. */
  readonly predictedPatches: number;
}

/** `run.json`: how the run was made. */
export interface RunResult {
  /** Version of the program. */
  readonly version: string;
  readonly startedAt: string;
  /** Null while the run is going on or when it was interrupted. */
  readonly finishedAt: string | null;
  /** Resolved configuration: flags over environment over file over defaults. */
  readonly configuration: Readonly<Record<string, unknown>>;
  /** Device of the model; `none` without one. */
  readonly device: string;
  /** Null when the run went no further than the patches. */
  readonly encoder: {
    /** Name and hash of the weights. */
    readonly id: string;
    /** `cpu` where it does not compute on a device of the kernels. */
    readonly device: string;
  } | null;
  /** From the model's card; null when the run went no further than the bags. */
  readonly model: {
    readonly name: string;
    readonly hash: string;
    readonly type: string;
    readonly trained: boolean;
    readonly classes: readonly string[];
    readonly encoder: string | null;
  } | null;
  /** Of the model, if there is one. Each slide's is in its `slide.json`, with the seconds it took. */
  readonly hashes: Readonly<Record<string, string>>;
  /** Wall seconds by stage, summed over slides: `tissue`, `extract`, `aggregate`, `heatmap`. */
  readonly timings: Readonly<Record<string, number>>;
}
