/** Which slides the list shows: by what is typed, and by what they came to. */
import type { SlideEntry } from '../api.ts';

/**
 * `find` is what is typed; `right` (`yes`, `no`) whether the prediction is the label; `class` the class whose probability lies
 * between `least` and `most` percent, the predicted one when empty; `reviewed` (`yes`, `no`) whether there is a verdict.
 */
export const FILTERS = ['find', 'status', 'predicted', 'label', 'right', 'class', 'least', 'most', 'reviewed'] as const;

/** As the controls and the address say it; an empty text asks for nothing. */
export type FilterSettings = Readonly<Record<(typeof FILTERS)[number], string>>;

/**
 * @param words of the slide, in which `find` is looked for.
 * @param decided ids of the slides with a verdict.
 */
export function fits(
  entry: SlideEntry,
  words: string,
  settings: FilterSettings,
  decided: ReadonlySet<string>,
): boolean {
  const { prediction, label, status, id } = entry;
  const is = (wanted: string, found: string | null) => wanted === '' || wanted === found;
  const right = prediction === null || label === null ? null : prediction === label ? 'yes' : 'no';
  return (
    words.toLowerCase().includes(settings.find.trim().toLowerCase()) &&
    is(settings.status, status) &&
    is(settings.predicted, prediction) &&
    is(settings.label, label) &&
    is(settings.right, right) &&
    is(settings.reviewed, decided.has(id) ? 'yes' : 'no') &&
    isWithin(entry, settings)
  );
}

function isWithin({ prediction, probabilities }: SlideEntry, settings: FilterSettings): boolean {
  if (settings.least === '' && settings.most === '') return true;
  const wanted = settings.class || prediction;
  const share = probabilities.find(({ name }) => name === wanted)?.probability;
  if (share === undefined) return false;
  const percent = Math.round(1e6 * share) / 1e4; // 100 x 0.55 is a little more than 55
  return percent >= Number(settings.least || 0) && percent <= Number(settings.most || 100);
}
