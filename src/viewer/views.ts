/** A run folder's records as the page is told of them. */
import type { SlideResult } from '../mil/result.ts';
import type { ModelView, Picture, RunView, SlideEntry, SlideFacts, SlideView } from './api.ts';
import { pictureVersion } from './pictures.ts';
import type { Blindness } from './review.ts';
import type { RunRecord, SlideRecord } from './run-folder.ts';

export function runView(run: RunRecord): RunView {
  return {
    name: run.name,
    version: run.result?.version ?? null,
    startedAt: run.result?.startedAt ?? null,
    finishedAt: run.result?.finishedAt ?? null,
    model: modelOf(run),
    warnings: run.warnings,
  };
}

export function modelOf(run: RunRecord): ModelView | null {
  return run.result?.model ? modelView(run.result.model) : null;
}

export function modelView({ name, type, trained }: ModelView): ModelView {
  return { name, type, trained };
}

export function slideEntry({
  id,
  patient,
  status,
  slide,
  prediction,
  hasThumbnail,
  live,
  warnings,
}: SlideRecord): SlideEntry {
  return {
    id,
    patient,
    status,
    prediction: prediction?.prediction ?? null,
    probabilities: prediction?.classes.map((name, i) => ({ name, probability: prediction.probabilities[i]! })) ?? [],
    label: prediction?.label ?? null,
    nPatches: slide?.nPatches ?? null,
    hasThumbnail,
    live: live && { done: live.done, patches: live.patches, predictedPatches: live.predictedPatches },
    warnings,
  };
}

export function slideFacts(slide: SlideResult): SlideFacts {
  return {
    format: slide.format,
    vendor: slide.vendor,
    mpp: slide.mpp,
    mppSource: slide.mppSource,
    objectivePower: slide.objectivePower,
    width: slide.width,
    height: slide.height,
    tissueAreaUm2: slide.tissueAreaUm2,
    patchPx: slide.patch.px,
    patchLevel0Px: slide.patch.level0Px,
    patchMpp: slide.patch.mpp,
    unreadableTiles: slide.unreadableTiles,
    // Runs of older versions have neither.
    holes: slide.holes ?? [],
    leftOut: slide.leftOut ?? {},
  };
}

export function pictureOf(slide: SlideResult, levels: Picture['levels']): Picture {
  const plain = levels.map(({ width, height, scaleX, scaleY, tileWidth, tileHeight }) => {
    return { width, height, scaleX, scaleY, tileWidth, tileHeight };
  });
  return { width: slide.width, height: slide.height, levels: plain, version: pictureVersion(slide) };
}

/** Without what a reader may not see before the verdict. */
export function blinded<T extends SlideEntry | SlideView>(view: T, { model, label }: Blindness): T {
  return {
    ...view,
    ...(label && { label: null }),
    ...(model && { prediction: null, probabilities: [] }),
    ...(model && 'scoreColumns' in view && { scoreColumns: [], scoresProblem: null, model: null, against: null }),
  };
}
