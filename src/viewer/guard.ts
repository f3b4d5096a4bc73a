/**
 * Keeps the viewer to its own page. Any website open in the same browser can send requests to this machine, also under a name
 * of its own that it points here (DNS rebinding).
 */
import { hostname, networkInterfaces } from 'node:os';

const LOOPBACK = ['127.0.0.1', 'localhost', '[::1]'];

/** What a page of the viewer sends with whatever changes something; another site cannot without being asked first (CORS). */
export const OWN_HEADER = 'x-lamina';

/** Names under which a request may ask for this machine when it listens on `host`. */
export function ownNames(host: string): ReadonlySet<string> {
  if (isLoopback(host)) return new Set(LOOPBACK);
  const everywhere = host === '0.0.0.0' || host === '::';
  const addresses = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
  const reached = everywhere
    ? addresses.map(({ address, family }) => (family === 'IPv6' ? `[${address.split('%')[0]}]` : address))
    : [host.includes(':') ? `[${host}]` : host];
  return new Set([...LOOPBACK, ...reached, hostname().toLowerCase()]);
}

export function isLoopback(host: string): boolean {
  return LOOPBACK.includes(host) || host === '::1';
}

/** Why a request is refused, null when it is welcome. */
export function refusal(request: Request, names: ReadonlySet<string> = new Set(LOOPBACK)): string | null {
  const url = new URL(request.url);
  const host = request.headers.get('host');
  if (!names.has(url.hostname) || (host !== null && host.toLowerCase() !== url.host)) {
    return 'The viewer answers only to the address that it printed.';
  }
  const origin = request.headers.get('origin');
  if (origin !== null && origin !== url.origin) return 'Another site may not use the viewer.';
  const navigates = request.headers.get('sec-fetch-mode') === 'navigate';
  const site = request.headers.get('sec-fetch-site');
  if ((site === 'cross-site' || site === 'same-site') && !navigates) return 'Another site may not use the viewer.';
  const changes = request.method !== 'GET' && request.method !== 'HEAD';
  if (changes && request.headers.get(OWN_HEADER) === null) return 'Only the viewer’s own page may change anything.';
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
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};
