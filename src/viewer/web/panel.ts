/** What is said about the chosen slide: banners over the picture, prediction, facts and notes beside it. */
import type { LiveProgress, SlideFacts, SlideView } from '../api.ts';
import { byId, element } from './element.ts';
import { count, figure, length } from './figures.ts';
import { probabilityBars } from './probabilities.ts';

export function showPanel(slide: SlideView): void {
  byId('slide-title').textContent = slide.id;
  byId('slide-subtitle').textContent = [
    slide.patient && `Patient ${slide.patient}`,
    slide.prediction !== null && `${slide.live ? 'So far' : 'Predicted'} ${slide.prediction}`,
    slide.label !== null && `Label ${slide.label}`,
  ]
    .filter(Boolean)
    .join(' · ');
  byId('prediction').replaceChildren(...prediction(slide));
  byId('facts').parentElement!.hidden = slide.facts === null;
  byId('facts').replaceChildren(...(slide.facts ? facts(slide.facts, slide.nPatches) : []));
  const notes = slide.warnings.filter((warning) => !slideBanners(slide).includes(warning));
  byId('notes').hidden = notes.length === 0;
  byId('notes-list').replaceChildren(...notes.map((warning) => element('li', '', warning)));
}

/** Sentences over the picture that nobody may miss. */
export function showBanners(sentences: readonly string[]): void {
  byId('banners').replaceChildren(...sentences.map((sentence) => element('p', 'banner', sentence)));
}

/** What must be known before the picture is believed. */
export function slideBanners(slide: SlideView): string[] {
  return [
    slide.live ? liveSentence(slide.live) : '',
    slide.model && !slide.model.trained && (slide.prediction !== null || slide.scoreColumns.length > 0)
      ? 'Untrained model: the attention of an untrained model has no meaning, and neither has its prediction.'
      : '',
    slide.facts && slide.facts.mpp === null
      ? 'Unknown scale: the file does not say how large a pixel is. Lengths are in pixels, and the patches may be of the wrong size.'
      : '',
    slide.facts && slide.facts.unreadableTiles > 0
      ? `${slide.facts.unreadableTiles === 1 ? 'One tile' : `${count(slide.facts.unreadableTiles)} tiles`} of this slide could not be read; patches there were left out.`
      : '',
    droppedSentence(slide),
    slide.status === 'no-tissue' ? 'No tissue was found on this slide, so there is nothing to predict from.' : '',
    slide.status === 'failed' ? (slide.warnings[0] ?? 'This slide failed.') : '',
  ].filter(Boolean);
}

/** What is shown of a slide under way is of a part of it. */
function liveSentence({ done, patches, predictedPatches }: LiveProgress): string {
  const read = `This slide is still being read: ${count(done)} of ${count(patches)} patches so far.`;
  if (predictedPatches === 0) return `${read} There is no prediction yet.`;
  return `${read} Prediction and heatmap are of the first ${count(predictedPatches)} patches alone and will change.`;
}

const REASONS: Readonly<Record<string, string>> = {
  blurred: 'blurred',
  pen: 'under pen marks',
  unreadable: 'unreadable',
  'not-chosen': 'left out by choice',
};

/** Tissue that the model never saw. */
function droppedSentence({ facts, nPatches }: SlideView): string {
  const dropped = Object.entries(facts?.leftOut ?? {}).filter(([reason, n]) => reason in REASONS && n > 0);
  if (dropped.length === 0) return '';
  const total = dropped.reduce((sum, [, n]) => sum + n, 0);
  const parts = dropped.map(([reason, n]) => `${count(n)} ${REASONS[reason]}`).join(', ');
  return `${count(total)} patches of tissue were not read by the model (${parts}); ${count(nPatches ?? 0)} were.`;
}

function prediction(slide: SlideView): Node[] {
  const { live } = slide;
  const title = element('h3', '', live ? 'Prediction so far' : 'Prediction');
  const bar = live ? [progressBar(live)] : [];
  if (slide.prediction === null) return [title, ...bar, element('p', 'quiet', live ? 'None yet.' : 'None.')];
  const parts: Node[] = [title, ...bar, probabilityBars(slide, 'full')];
  if (live) {
    const part = `${count(live.predictedPatches)} of ${count(live.patches)} patches`;
    parts.push(element('p', 'quiet', `Of the first ${part}, not of the slide.`));
  }
  if (slide.label !== null) {
    const right = slide.label === slide.prediction;
    parts.push(element('p', 'quiet', `Label: ${slide.label} (${right ? 'as predicted' : 'not as predicted'})`));
  }
  if (slide.model) {
    const trained = slide.model.trained ? '' : ', untrained';
    parts.push(element('p', 'quiet', `Model ${slide.model.name} (${slide.model.type}${trained})`));
  }
  return parts;
}

function progressBar({ done, patches }: LiveProgress): HTMLElement {
  const bar = element('progress', '');
  bar.max = Math.max(1, patches);
  bar.value = done;
  bar.ariaLabel = 'Patches read';
  return bar;
}

const SCALE_SOURCE: Readonly<Record<string, string>> = {
  file: 'from the file',
  flag: 'given by hand',
  manifest: 'from the manifest',
  objective: 'estimated from the objective',
};

function facts(slide: SlideFacts, nPatches: number | null): Node[] {
  const { mpp, width, height, patchLevel0Px } = slide;
  const lines: [string, string | null][] = [
    ['Scale', mpp === null ? 'unknown' : `${figure(mpp)} µm/px, ${SCALE_SOURCE[slide.mppSource] ?? slide.mppSource}`],
    ['Objective', slide.objectivePower === null ? null : `${figure(slide.objectivePower)}×`],
    ['Size', `${count(width)} × ${count(height)} px`],
    ['', mpp === null ? null : `${length(width * mpp)} × ${length(height * mpp)}`],
    ['Tissue', slide.tissueAreaUm2 === null ? null : `${figure(slide.tissueAreaUm2 / 1e6)} mm²`],
    ['Patches', nPatches === null ? null : count(nPatches)],
    [
      'Patch side',
      mpp === null ? `${count(patchLevel0Px)} px` : `${length(patchLevel0Px * mpp)} (${figure(patchLevel0Px)} px)`,
    ],
    ['Encoded at', slide.patchMpp === null ? null : `${slide.patchPx} px, ${figure(slide.patchMpp)} µm/px`],
    ['Format', [slide.format, slide.vendor].filter(Boolean).join(', ')],
  ];
  return lines
    .filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [element('dt', '', name), element('dd', '', value!)]);
}
