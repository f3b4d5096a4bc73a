/** `npm ci` refuses a lock file that leaves out packages of other platforms, as `npm install` does where it cannot reach them. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

interface Locked {
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8')) as { packages: Record<string, Locked> };

describe('package-lock.json', () => {
  it('holds an entry for every optional package', () => {
    const wanted = Object.values(lock.packages).flatMap((locked) => Object.keys(locked.optionalDependencies ?? {}));
    const held = Object.keys(lock.packages);
    expect(wanted.length).toBeGreaterThan(0);
    expect(wanted.filter((name) => !held.some((path) => path.endsWith(`node_modules/${name}`)))).toEqual([]);
  });

  it('names no registry', () => {
    expect(JSON.stringify(lock.packages)).not.toContain('"resolved"');
  });
});
