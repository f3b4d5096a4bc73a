/** What the page asks first, asked while it is still being built: the answers come meanwhile, all at once. */
import { RUN_URL, SLIDES_URL, viewUrl } from './addresses.ts';
import { isBundle } from './bundle.ts';

const slide = new URLSearchParams(location.hash.slice(1)).get('slide');
const answers = new Map([RUN_URL, SLIDES_URL].map((url) => [url, ask(url)]));
if (!isBundle) answers.set('api/session', ask('api/session'));
if (slide !== null) answers.set(viewUrl(slide), ask(`${viewUrl(slide)}?fresh`));

/** The answer to a question that was asked early; null when it was not, or was refused (one may have to sign in first). */
export async function earlyAnswer(url: string): Promise<Response | null> {
  const answer = answers.get(url);
  answers.delete(url);
  return (await answer) ?? null;
}

async function ask(url: string): Promise<Response | null> {
  const response = await fetch(url).catch(() => null);
  return response?.ok ? response : null;
}
