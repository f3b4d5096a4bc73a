/** Where the page asks for what it reads: of a server, or of the files that a bundle has in its place. */
import { scoresFile, slideUrl } from '../api.ts';
import { isBundle } from './bundle.ts';

export const RUN_URL = isBundle ? 'api/run.json' : 'api/run';
export const SLIDES_URL = isBundle ? 'api/slides.json' : 'api/slides';

export function viewUrl(slide: string): string {
  return slideUrl(slide, isBundle ? 'slide.json' : '');
}

export function scoresUrl(slide: string, column: string): string {
  if (isBundle) return slideUrl(slide, scoresFile(column));
  return `${slideUrl(slide, 'scores')}?column=${encodeURIComponent(column)}`;
}

export function associatedUrl(slide: string, name: string): string {
  return slideUrl(slide, `associated/${encodeURIComponent(name)}${isBundle ? '.jpg' : ''}`);
}
