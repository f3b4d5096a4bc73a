/** Which golden cases of the scan can show a mistake, by the reference in double precision. */
import { scan } from '../kernels/reference/scan.ts';
import { goldenScan } from '../kernels/scan-cases.ts';
import { errorRatio } from './compare.ts';
import { packedOffsets } from './scan-cases.ts';
import type { GoldenCase } from './source.ts';

/** Whether the case has another y with segments of K tokens, by twice what its tolerance lets pass. */
export function showsSegments(c: GoldenCase, K: number): boolean {
  const y = (length: number) => {
    const { arguments: given, offsets } = goldenScan({ ...c, K: length } as Parameters<typeof goldenScan>[0]);
    return scan(given, offsets.length - 1).y;
  };
  return c.K > 1 && errorRatio(y(K), y(c.K), c.outputs!.y!) > 2;
}

/** By what a mistake needs. */
export const could = {
  segments: (c: GoldenCase) => showsSegments(c, 0),
  bags: (c: GoldenCase) => packedOffsets(c.dims.B, c.dims.L, c.cu_seqlens).length > 2,
} as const;
