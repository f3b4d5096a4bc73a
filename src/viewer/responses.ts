/** How the viewer answers: bytes that a browser may keep, JSON that it may not, problems as sentences. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { Context, Hono } from 'hono';
import type { User } from './accounts.ts';
import type { Problem } from './api.ts';
import type { Bytes } from './byte-cache.ts';
import { SECURITY_HEADERS } from './guard.ts';

/** Addresses of tiles carry the slide's version, so a browser may keep them. */
export const KEEP = 'private, max-age=86400';
/** The browser asks each time whether it has changed. */
export const ASK = 'private, no-cache';

/** What travels with a request. */
export interface ViewerEnv {
  Bindings: { readonly incoming?: IncomingMessage };
  Variables: {
    /** Who asks. */
    user?: User;
    /** Takes out of an answer where files lie. */
    discreet?: (text: string) => string;
    /** The answer has the security headers already: touching a finished one costs a third of the tiles a second. */
    complete?: boolean;
  };
}
export type ViewerRoutes = Hono<ViewerEnv>;
export type ViewerContext = Context<ViewerEnv>;

/** Bytes under an ETag: nothing when the browser has them, one range of them when it asks for one. */
export function bytesResponse(
  c: ViewerContext,
  bytes: Bytes,
  mime: string,
  tag: string,
  cacheControl: string,
): Response {
  c.set('complete', true);
  const headers: Record<string, string> = {
    ...SECURITY_HEADERS,
    'content-type': mime,
    'cache-control': cacheControl,
    'accept-ranges': 'bytes',
    etag: `"${tag}"`,
  };
  if (c.req.header('if-none-match')?.includes(headers.etag!)) return new Response(null, { status: 304, headers });
  const asked = c.req.header('range');
  const range = asked === undefined ? null : byteRange(asked, bytes.length);
  if (range === null) return new Response(bytes, { headers });
  const [first, end] = range;
  headers['content-range'] = first < end ? `bytes ${first}-${end - 1}/${bytes.length}` : `bytes */${bytes.length}`;
  return new Response(first < end ? bytes.subarray(first, end) : null, { status: first < end ? 206 : 416, headers });
}

/** First byte and the one after the last; equal when the range lies outside; null when it is none that is understood. */
function byteRange(header: string, length: number): [number, number] | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header);
  if (!match || (!match[1] && !match[2])) return null;
  if (!match[1]) return [Math.max(0, length - Number(match[2])), length];
  const first = Math.min(length, Number(match[1]));
  return [first, match[2] ? Math.max(first, Math.min(length, Number(match[2]) + 1)) : length];
}

/** JSON of this moment. */
export function fresh(c: ViewerContext, body: unknown): Response {
  const text = JSON.stringify(body);
  const discreet = c.get('discreet');
  return c.body(discreet ? discreet(text) : text, 200, {
    'content-type': 'application/json',
    'cache-control': 'no-store',
  });
}

/** JSON under an ETag, for what is asked again and again. */
export function jsonResponse(c: ViewerContext, body: unknown): Response {
  const bytes = new TextEncoder().encode(JSON.stringify(body));
  const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16);
  return bytesResponse(c, bytes, 'application/json', tag, ASK);
}

export function problemResponse(code: string, message: string, status: number): Response {
  return Response.json({ code, message } satisfies Problem, { status, headers: { 'cache-control': 'no-store' } });
}

export function unknownSlide(c: ViewerContext): Response {
  return problemResponse('no-slide', `The run has no slide ${c.req.param('id')}. Reload the page.`, 404);
}

/** Changes when the file does; `none` when there is none. */
export async function contentTag(path: string): Promise<string> {
  const found = await stat(path).catch(() => null);
  return found ? `${found.size.toString(36)}-${Math.round(found.mtimeMs).toString(36)}` : 'none';
}
