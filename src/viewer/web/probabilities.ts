/** Class probabilities as bars. */
import type { SlideEntry } from '../api.ts';
import { element } from './element.ts';
import { percent } from './figures.ts';

/** `small`: one stacked line without words beside it; `full`: a line a class, the predicted one marked. */
export function probabilityBars({ probabilities, prediction }: SlideEntry, size: 'small' | 'full'): HTMLElement {
  const bars = element('span', `bars ${size}`);
  probabilities.forEach(({ name, probability }) => {
    const fill = element('span', 'fill');
    fill.style.width = `${100 * probability}%`;
    const bar = element('span', 'bar', fill);
    if (name === prediction) bar.classList.add('predicted-bar');
    if (size === 'full')
      bars.append(element('span', 'class-name', name), bar, element('span', 'share', percent(probability)));
    else if (name === prediction) bars.append(bar, element('span', 'share', percent(probability)));
  });
  return bars;
}
