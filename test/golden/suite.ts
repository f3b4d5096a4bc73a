/**
 * Every case of the golden manifest on every device. LAMINA_GOLDEN names another folder of the same form; which cases it has
 * does not matter.
 */
import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/kernels/device.ts';
import { runCase } from './run-case.ts';
import { type Golden, type GoldenCase, openGolden } from './source.ts';

const folder = resolve(process.env.LAMINA_GOLDEN ?? '../shared/golden');
const present = existsSync(resolve(folder, 'manifest.json'));
// Tests are named before anything may be awaited.
const cases: GoldenCase[] = present ? JSON.parse(readFileSync(resolve(folder, 'manifest.json'), 'utf8')).cases : [];

const MINUTE = 60_000;

export interface DeviceUnderTest {
  readonly name: string;
  /** Why there is no such device here, or null. */
  readonly missing: string | null;
  open(): Promise<Device>;
}

export function goldenSuite({ name: deviceName, missing, open }: DeviceUnderTest): void {
  const reason = missing ?? (present ? null : `no manifest.json in ${folder}`);
  describe.skipIf(reason)(`golden cases on ${deviceName}${reason ? ` (skipped: ${reason})` : ''}`, () => {
    let golden: Golden;
    let device: Device;
    const results: Result[] = [];
    beforeAll(async () => {
      golden = await openGolden((name) => readFile(resolve(folder, name)));
      device = await open();
    }, MINUTE);
    afterAll(async () => {
      await device?.close();
      console.log(summary(deviceName, results));
    });

    it('are there', () => expect(cases.length).toBeGreaterThan(0));

    it.each(cases.map((c) => [c.kind, c.name, c] as const))(
      '%s %s',
      async (kind, name, goldenCase) => {
        const start = performance.now();
        const { worst, output } = await runCase(golden, goldenCase, device);
        results.push({ kind, name, worst, output, seconds: (performance.now() - start) / 1000 });
        expect(worst, `${output}: error / tolerance`).toBeLessThanOrEqual(1);
      },
      15 * MINUTE,
    );
  });
}

interface Result {
  readonly kind: string;
  readonly name: string;
  readonly worst: number;
  readonly output: string;
  readonly seconds: number;
}

/** The worst error over tolerance of each kind, and the slowest cases. */
function summary(device: string, results: readonly Result[]): string {
  const kinds = [...new Set(results.map(({ kind }) => kind))].map((kind) => {
    const own = results.filter((result) => result.kind === kind);
    const worst = own.reduce((a, b) => (b.worst > a.worst ? b : a));
    return `  ${kind.padEnd(22)} ${String(own.length).padStart(3)}  ${worst.worst.toFixed(3)}  ${worst.name} ${worst.output}`;
  });
  const slow = [...results].sort((a, b) => b.seconds - a.seconds).slice(0, 3);
  const times = slow.map(({ name, seconds }) => `${name} ${seconds.toFixed(1)} s`).join(', ');
  return [`Golden cases on ${device}: cases and worst error / tolerance by kind`, ...kinds, `  slowest: ${times}`].join(
    '\n',
  );
}
