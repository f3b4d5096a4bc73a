import { describe, expect, it } from 'vitest';
import type { SlideEntry } from '../../src/viewer/api.ts';
import { FILTERS, type FilterSettings, fits } from '../../src/viewer/web/slide-filter.ts';

const NOTHING = Object.fromEntries(FILTERS.map((name) => [name, ''])) as FilterSettings;

function entry(id: string, share: number, label: string | null, more: Partial<SlideEntry> = {}): SlideEntry {
  const prediction = share > 0.5 ? 'tumour' : 'normal';
  const probabilities = [
    { name: 'normal', probability: 1 - share },
    { name: 'tumour', probability: share },
  ];
  const plain = { patient: null, status: 'done', nPatches: 1, hasThumbnail: false, live: null, warnings: [] } as const;
  return { id, prediction, probabilities, label, ...plain, ...more };
}

const SLIDES = [
  entry('sure', 0.99, 'tumour'),
  entry('close', 0.55, 'normal'),
  entry('unlabelled', 0.1, null),
  entry('failed', 0, null, { status: 'failed', prediction: null, probabilities: [] }),
];

function shown(settings: Partial<FilterSettings>, decided: readonly string[] = []): string[] {
  const all = { ...NOTHING, ...settings };
  return SLIDES.filter((slide) => fits(slide, slide.id, all, new Set(decided))).map(({ id }) => id);
}

describe('the list shows', () => {
  it.each<[string, Partial<FilterSettings>, string[]]>([
    ['all when nothing is asked for', {}, ['sure', 'close', 'unlabelled', 'failed']],
    ['what has the text, in any case', { find: ' LAB' }, ['unlabelled']],
    ['a status', { status: 'failed' }, ['failed']],
    ['a predicted class', { predicted: 'tumour' }, ['sure', 'close']],
    ['a label', { label: 'normal' }, ['close']],
    ['right predictions: none where there is no label', { right: 'yes' }, ['sure']],
    ['wrong predictions', { right: 'no' }, ['close']],
    ['a range of the predicted class, whichever it is', { least: '50', most: '95' }, ['close', 'unlabelled']],
    ['a range of one class, its ends included', { class: 'tumour', most: '55' }, ['close', 'unlabelled']],
    ['all of any class when no range is given', { class: 'tumour' }, ['sure', 'close', 'unlabelled', 'failed']],
    ['what fits everything asked for', { predicted: 'tumour', right: 'no', find: 'c' }, ['close']],
  ])('%s', (_, settings, expected) => {
    expect(shown(settings)).toEqual(expected);
  });

  it('what has a verdict, or none', () => {
    expect(shown({ reviewed: 'yes' }, ['close'])).toEqual(['close']);
    expect(shown({ reviewed: 'no' }, ['close'])).toEqual(['sure', 'unlabelled', 'failed']);
  });
});
