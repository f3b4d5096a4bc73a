/** The address of what is seen: slide, place, zoom, turn, colours, and what the list is filtered for. */
import { FILTERS } from './slide-filter.ts';
import type { StageView } from './stage.ts';

export interface Permalink {
  readonly slide: string | null;
  readonly view: StageView | null;
  readonly settings: Partial<Record<string, string>>;
}

const SETTINGS = ['score', 'map', 'scale', 'opacity', ...FILTERS];

export function readPermalink(hash: string): Permalink {
  const given = new URLSearchParams(hash.slice(1));
  const numbers = ['x', 'y', 'zoom', 'turn'].map((name) => (given.has(name) ? Number(given.get(name)) : Number.NaN));
  const [x, y, zoom, turn] = numbers as [number, number, number, number];
  const whole = [x, y, zoom].every(Number.isFinite) && zoom > 0;
  return {
    slide: given.get('slide'),
    view: whole ? { x, y, zoom, rotation: Number.isFinite(turn) ? turn : 0 } : null,
    settings: Object.fromEntries(SETTINGS.flatMap((name) => (given.has(name) ? [[name, given.get(name)!]] : []))),
  };
}

export function toPermalink(slide: string, view: StageView | null, settings: Record<string, string>): string {
  const parts = new URLSearchParams({ slide });
  if (view) {
    parts.set('x', view.x.toFixed(0));
    parts.set('y', view.y.toFixed(0));
    parts.set('zoom', String(Number(view.zoom.toPrecision(4))));
    if (view.rotation !== 0) parts.set('turn', String(Math.round(view.rotation * 10) / 10));
  }
  for (const [name, value] of Object.entries(settings)) if (value) parts.set(name, value);
  return `#${parts}`;
}
