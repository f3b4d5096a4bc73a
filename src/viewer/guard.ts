/**
 * Keeps the viewer to its own page. It listens on the loopback address, but any website open in the same browser can send
 * requests there, also under a name of its own that it points to 127.0.0.1 (DNS rebinding).
 */

/** Names under which a request may ask for this machine. */
const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

/** Why a request is refused, null when it is welcome. */
export function refusal(request: Request): string | null {
  const url = new URL(request.url);
  const host = request.headers.get('host');
  if (!LOOPBACK.has(url.hostname) || (host !== null && host !== url.host)) {
    return 'The viewer answers only to the address that it printed (127.0.0.1 or localhost).';
  }
  const origin = request.headers.get('origin');
  if (origin !== null && origin !== url.origin) return 'Another site may not read from the viewer.';
  const navigates = request.headers.get('sec-fetch-mode') === 'navigate';
  if (request.headers.get('sec-fetch-site') === 'cross-site' && !navigates) {
    return 'Another site may not read from the viewer.';
  }
  return null;
}

/** Headers of every answer: nothing remote is loaded, no other site may frame or embed anything. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' blob: data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};
