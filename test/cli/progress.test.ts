import { describe, expect, it } from 'vitest';
import { Progress, StatusLine } from '../../src/cli/progress.ts';
import type { BatchEvent } from '../../src/run/batch.ts';
import type { SlideInput } from '../../src/run/slide-inputs.ts';
import type { SlideOutcome } from '../../src/run/slide-run.ts';

const input = (id: string) => ({ id }) as SlideInput;
const total = 4;
const begin = (id: string): BatchEvent => ({ kind: 'begin', input: input(id), index: 0, total });
const patches = (id: string, done: number): BatchEvent => ({ kind: 'patches', input: input(id), done, patches: 100 });
const end = (id: string, skipped = false, again = false): BatchEvent => {
  return { kind: 'end', outcome: { input: input(id), skipped } as SlideOutcome, index: 0, total, again };
};

describe('the line that says how far something is', () => {
  const shownOn = (isTTY: boolean, everyMs: number, times: number) => {
    let now = 0;
    const written: string[] = [];
    const write = (text: string | Uint8Array) => written.push(String(text)) > 0;
    const line = new StatusLine({ isTTY, write }, () => now);
    for (let i = 0; i < times; i++, now += everyMs) line.show(() => `${i}`);
    line.clear();
    return written;
  };

  it('is rewritten on a terminal', () => {
    expect(shownOn(true, 60, 4)).toEqual(['\r\u001b[2K0', '\r\u001b[2K2', '\r\u001b[2K']);
  });

  it('comes twice a minute, and as a line of its own, into a log', () => {
    expect(shownOn(false, 10_000, 8)).toEqual(['3\n', '6\n']);
  });
});

describe('progress', () => {
  it('tells the rate over all slides and the time by the slides that are left', () => {
    let now = 0;
    const progress = new Progress(() => now);
    progress.hear(begin('a'));
    expect(progress.secondsLeft()).toBe(null);
    progress.hear(end('a', true));
    progress.hear(begin('b'));
    progress.hear(patches('b', 100));
    progress.hear(end('b'));
    progress.hear(begin('c'));
    progress.hear(patches('c', 50));
    now = 15_000;
    // One and a half slides of three took 15 s; the one finished before took none.
    expect(progress.secondsLeft()).toBeCloseTo(15, 6);
    expect(progress.line()).toBe('2/4 slides, c 50/100 patches, 10 patches/s, 15 s left');
    now = 1_500_000;
    expect(progress.line()).toMatch(/25 min left$/);
  });

  it('does not count a slide as ended that is tried again', () => {
    const progress = new Progress(() => 0);
    progress.hear(begin('a'));
    progress.hear(end('a', false, true));
    expect(progress.line()).toMatch(/^0\/4 slides/);
  });
});
