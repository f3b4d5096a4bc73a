import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { lamina } from '../cli/spawn.ts';
import { expectResults } from './results.ts';

const PEER = process.env.LAMINA_PEER ?? '../shared/peers';
const python = process.env.PYTHON ?? '/usr/bin/python3';
const runs = (command: string, ...args: string[]) => spawnSync(command, args).status === 0;
const missing = !existsSync(PEER)
  ? `no programs in ${PEER}; set LAMINA_PEER`
  : !runs(python, '-c', 'import openslide')
    ? `${python} has no openslide, which they use (python3-openslide)`
    : !runs('vips', '--version')
      ? 'no vips, which they use (libvips-tools)'
      : null;
const reason = missing ? ` (skipped: ${missing})` : '';

describe('lamina bench viewer', () => {
  it('measures the page alone where there is nothing to compare with', async () => {
    const { code, stdout, stderr } = await lamina('bench', 'viewer', '--quick', '--json', '--peer', 'test/none');
    expect(code).toBe(0);
    expect(stderr).toContain('only the page is measured');
    expect(JSON.parse(stdout).results.map(({ name }: { name: string }) => name)).toEqual(['script of the page, gzip']);
  });

  it.skipIf(reason)(`measures tiles, people and the first view${reason}`, async () => {
    const { code, stdout } = await lamina('bench', 'viewer', '--quick', '--json', '--peer', PEER);
    expect(code).toBe(0);
    const names = expectResults(JSON.parse(stdout).results);
    for (const what of ['tiles a second, 6 connections, warm', 'first view of a slide', '5 people panning']) {
      expect(names.some((name) => name.startsWith(what))).toBe(true);
    }
  });
});
