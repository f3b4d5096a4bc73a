/** Asks the server. Whatever fails is an Error whose message is a sentence for the person. */
import type { FeatureCollection } from 'geojson';
import {
  decodeScores,
  type Problem,
  type RunView,
  type Scores,
  type SlideEntry,
  type SlideView,
  slideUrl,
} from '../api.ts';

export async function getRun(): Promise<RunView> {
  return await getJson('api/run');
}

export async function getSlides(): Promise<SlideEntry[]> {
  return await getJson('api/slides');
}

export async function getSlide(id: string, signal: AbortSignal): Promise<SlideView> {
  return await getJson(slideUrl(id), signal);
}

export async function getTissue(id: string, signal: AbortSignal): Promise<FeatureCollection> {
  return await getJson(slideUrl(id, 'tissue.geojson'), signal);
}

export async function getScores(id: string, column: string, signal: AbortSignal): Promise<Scores> {
  const response = await get(`${slideUrl(id, 'scores')}?column=${encodeURIComponent(column)}`, signal);
  return decodeScores(await response.arrayBuffer());
}

async function getJson<T>(url: string, signal?: AbortSignal): Promise<T> {
  const response = await get(url, signal);
  return (await response.json()) as T;
}

async function get(url: string, signal?: AbortSignal): Promise<Response> {
  const response = await fetch(url, signal ? { signal } : {}).catch((error) => {
    if (signal?.aborted) throw error;
    throw new Error('The viewer does not answer. Start `lamina view` again and reload this page.', { cause: error });
  });
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as Problem | null;
  throw new Error(problem?.message ?? `The viewer answered ${response.status} for ${url}.`);
}
