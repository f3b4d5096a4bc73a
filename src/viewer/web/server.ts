/** Asks the server, or in a bundle the files in its place. Whatever fails is an Error whose message is a sentence for the person. */
import type { Feature, FeatureCollection, Geometry } from 'geojson';
import {
  type AnnotationProperties,
  type CounterfactualEntry,
  type CounterfactualView,
  decodeScores,
  type LiveView,
  type PatchEntry,
  type Problem,
  type QueueView,
  type ReviewSetup,
  type ReviewSummary,
  type ReviewView,
  type RunView,
  type Scores,
  type SessionView,
  type SimilarEntry,
  type SimilarView,
  type SlideEntry,
  type SlideView,
  slideUrl,
  type Verdict,
  type VerdictEntry,
} from '../api.ts';
import { RUN_URL, SLIDES_URL, scoresUrl, viewUrl } from './addresses.ts';
import { dropAnnotation, isBundle, keepAnnotation, keptAnnotations } from './bundle.ts';
import { earlyAnswer } from './early.ts';

export type Annotation = Feature<Geometry, AnnotationProperties>;

/** What the server said, or that it said nothing: then what was sent may be sent again. */
export class ServerProblem extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: { cause: unknown }) {
    super(message, options);
    this.code = code;
  }
}

export const getSession = async (): Promise<SessionView> =>
  isBundle ? { mode: 'bundle', user: { name: '', role: 'reader' } } : await getJson('api/session');
export const signIn = (given: { name?: string; password?: string; token?: string }) =>
  change<SessionView>('POST', 'api/session', given);
export const signOut = () => change<SessionView>('DELETE', 'api/session');

export const getRun = () => getJson<RunView>(RUN_URL);
/** The browser sends the ETag of what it has, so that most answers are empty. */
export const getLive = () => getJson<LiveView>('api/live');
export const getSlides = () => getJson<SlideEntry[]>(SLIDES_URL);
export const getSlide = (id: string, signal: AbortSignal) => getJson<SlideView>(viewUrl(id), signal);
export const getTissue = (id: string, signal: AbortSignal) =>
  getJson<FeatureCollection>(slideUrl(id, 'tissue.geojson'), signal);

/** @param ofOther of the run that this one is compared with. */
export async function getScores(id: string, column: string, signal: AbortSignal, ofOther = false): Promise<Scores> {
  const response = await get(`${scoresUrl(id, column)}${ofOther ? '&run=against' : ''}`, { signal });
  return decodeScores(await response.arrayBuffer());
}

export const getAnnotations = async (id: string, signal: AbortSignal) =>
  isBundle
    ? keptAnnotations(id)
    : await getJson<FeatureCollection<Geometry, AnnotationProperties>>(slideUrl(id, 'annotations'), signal);
export async function saveAnnotation(id: string, annotation: Annotation, author: string): Promise<void> {
  if (isBundle) keepAnnotation(id, annotation);
  else await importAnnotations(id, annotation, author);
}
/** @param body GeoJSON. */
export const importAnnotations = (id: string, body: unknown, author: string) =>
  change<Annotation[]>('POST', `${slideUrl(id, 'annotations/import')}?author=${encodeURIComponent(author)}`, body);
export async function removeAnnotation(id: string, annotation: string, author: string): Promise<void> {
  if (isBundle) dropAnnotation(id, annotation);
  else await change('DELETE', `${slideUrl(id, `annotations/${annotation}`)}?author=${encodeURIComponent(author)}`);
}

export const askCounterfactual = (id: string, entry: CounterfactualEntry, signal: AbortSignal) =>
  change<CounterfactualView>('POST', slideUrl(id, 'counterfactual'), entry, signal);

export const askSimilar = (id: string, entry: SimilarEntry, signal: AbortSignal) =>
  change<SimilarView>('POST', slideUrl(id, 'similar'), entry, signal);

/** Which patches feed one of them: a share of each. */
export async function askSources(id: string, entry: PatchEntry, signal: AbortSignal): Promise<Scores> {
  const response = await send('POST', slideUrl(id, 'sources'), entry, signal);
  return decodeScores(await response.arrayBuffer());
}

export const getReviews = () => getJson<ReviewView[]>('api/reviews');
/** Ids of the slides with a verdict: one's own, or anybody's for who may see them. */
export const getDecided = () => getJson<string[]>('api/reviews/decided');
export const createReview = (setup: ReviewSetup) => change<ReviewView>('POST', 'api/reviews', setup);
export const getQueue = (review: string, reader: string) =>
  getJson<QueueView>(`api/reviews/${review}/queue?reader=${encodeURIComponent(reader)}`);
export const getReviewSlide = (review: string, id: string, signal: AbortSignal) =>
  getJson<SlideView>(`api/reviews/${review}/slides/${encodeURIComponent(id)}`, signal);
export const sendVerdict = (review: string, entry: VerdictEntry) =>
  change<Verdict>('POST', `api/reviews/${review}/verdicts`, entry);
export const getSummary = (review: string) => getJson<ReviewSummary>(`api/reviews/${review}/summary`);

async function getJson<T>(url: string, signal?: AbortSignal): Promise<T> {
  const response = (await earlyAnswer(url)) ?? (await get(url, signal ? { signal } : {}));
  signal?.throwIfAborted();
  return (await response.json()) as T;
}

/** The header says that the page itself asks: another site cannot set it. */
async function change<T>(method: 'POST' | 'DELETE', url: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  return (await (await send(method, url, body, signal)).json()) as T;
}

function send(method: 'POST' | 'DELETE', url: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers = { 'content-type': 'application/json', 'x-lamina': '1' };
  const sent = body === undefined ? {} : { body: JSON.stringify(body) };
  return get(url, { method, headers, ...sent, ...(signal && { signal }) });
}

async function get(url: string, init: RequestInit): Promise<Response> {
  const response = await fetch(url, init).catch((error) => {
    if (init.signal?.aborted) throw error;
    const silent = isBundle
      ? 'The web server does not answer. Check the connection and reload this page.'
      : 'The viewer does not answer. Start `lamina view` again and reload this page.';
    throw new ServerProblem('silent', silent, { cause: error });
  });
  if (response.ok) return response;
  const problem = (await response.json().catch(() => null)) as Problem | null;
  throw new ServerProblem(
    problem?.code ?? 'unknown',
    problem?.message ?? `${isBundle ? 'The web server' : 'The viewer'} answered ${response.status} for ${url}.`,
  );
}
