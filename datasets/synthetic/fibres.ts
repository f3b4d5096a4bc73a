/** The grain of connective tissue: a smooth field whose contour lines are the fibres. */
import type { Random } from '../../src/random.ts';

export interface FibreField {
  /** Phase across the fibres at a place, level-0 px; equal along a fibre. */
  across(x: number, y: number): number;
  /** Direction of the fibres at a place, radians. */
  direction(x: number, y: number): number;
}

/** @param wavelength of the bends, level-0 px. */
export function createFibres(random: Random, wavelength: number): FibreField {
  const angle = 2 * Math.PI * random();
  const waves = Array.from({ length: 5 }, (_, i) => {
    const heading = 2 * Math.PI * random();
    const k = (2 * Math.PI * (0.6 + random())) / (wavelength / (1 + i * 0.45));
    const amplitude = 0.55 / (1 + i * 0.6) / k;
    return { kx: k * Math.cos(heading), ky: k * Math.sin(heading), amplitude, phase: 2 * Math.PI * random() };
  });
  const baseX = -Math.sin(angle);
  const baseY = Math.cos(angle);

  return {
    across(x, y) {
      let value = baseX * x + baseY * y;
      for (const { kx, ky, amplitude, phase } of waves) value += amplitude * Math.sin(kx * x + ky * y + phase);
      return value;
    },
    direction(x, y) {
      let dx = baseX;
      let dy = baseY;
      for (const { kx, ky, amplitude, phase } of waves) {
        const slope = amplitude * Math.cos(kx * x + ky * y + phase);
        dx += slope * kx;
        dy += slope * ky;
      }
      return Math.atan2(dx, -dy);
    },
  };
}
