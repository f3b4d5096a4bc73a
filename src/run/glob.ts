/** Patterns of file names, for shells that do not expand them: `*`, `**`, `?`, `[abc]` and `{a,b}`. */
import { readdir } from 'node:fs/promises';
import { join, sep } from 'node:path';

export function isPattern(path: string): boolean {
  return /[*?[{]/.test(path);
}

/** The files that a pattern matches, sorted. None is no error. */
export async function findFiles(pattern: string): Promise<string[]> {
  const parts = pattern.split(/[/\\]/);
  const fixed = parts.findIndex(isPattern);
  const root = parts.slice(0, fixed).join('/') || (pattern.startsWith('/') ? '/' : '.');
  const rest = toExpression(parts.slice(fixed).join('/'));
  const entries = await readdir(root, { recursive: true, withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => rest.test(path.slice(join(root, sep).length - (root === '.' ? 2 : 0)).replaceAll('\\', '/')))
    .sort();
}

/** The pattern as a regular expression over a path with forward slashes. `**` spans folders, `*` and `?` do not. */
export function toExpression(pattern: string): RegExp {
  const tokens = pattern.matchAll(/\*\*\/|\*\*|\*|\?|\[!?[^\]]+\]|\{[^{}]*\}|[\s\S]/g);
  const source = [...tokens].map(([token]) => {
    if (token === '**/') return '(?:[^/]+/)*';
    if (token === '**') return '.*';
    if (token === '*') return '[^/]*';
    if (token === '?') return '[^/]';
    if (token.length > 1 && token.startsWith('[')) return token.replace('[!', '[^').replaceAll('\\', '\\\\');
    if (token.length > 1 && token.startsWith('{')) return `(?:${token.slice(1, -1).split(',').map(escaped).join('|')})`;
    return escaped(token);
  });
  return new RegExp(`^${source.join('')}$`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
