/** A short form of `bench/reliability.ts`, whose long form is in docs/reliability.md. */
import { describe, expect, it } from 'vitest';
import { hasRedis } from '../../bench/redis-server.ts';
import { killBatch, killWorkers } from '../../bench/reliability.ts';

const FOUR_MINUTES = 240_000;

describe('killed at random moments', () => {
  it.each(['stain-texture', 'onnx'] as const)(
    'a batch is finished by the next start, with %s: every slide once, the same bytes, nothing left behind',
    async (encoder) => {
      const { faults, kills, interrupted } = await killBatch({ kills: 4, slides: 5, seed: 3, encoder });
      expect(faults).toEqual([]);
      expect(kills).toBe(4);
      expect(interrupted).toBeGreaterThan(0);
    },
    FOUR_MINUTES,
  );

  it.skipIf(!hasRedis)(
    `so are workers, with Redis killed in between${hasRedis ? '' : ' (skipped: there is no redis-server)'}`,
    async () => {
      const { faults, kills } = await killWorkers({ kills: 4, slides: 5, seed: 3, workers: 3 });
      expect(faults).toEqual([]);
      expect(kills).toBe(4);
    },
    FOUR_MINUTES,
  );
});
