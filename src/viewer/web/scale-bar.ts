/** The scale bar, in micrometres or millimetres; in pixels of the slide when nobody knows its scale. */
import { byId } from './element.ts';
import { count, length, roundLength } from './figures.ts';

/** Longest bar in CSS px. */
const LONGEST_PX = 160;

/** `zoom`: CSS px per level-0 px; `mpp`: micrometres per level-0 px or null. */
export function drawScaleBar(zoom: number, mpp: number | null): void {
  const unitsPerCssPx = (mpp ?? 1) / zoom;
  const units = roundLength(LONGEST_PX * unitsPerCssPx);
  byId('scale-bar-line').style.width = `${units / unitsPerCssPx}px`;
  byId('scale-bar-text').textContent = mpp === null ? `${count(units)} px` : length(units);
  byId('scale-bar').hidden = false;
}
