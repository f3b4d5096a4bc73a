/** Numbers as the page writes them. */

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const precise = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

export function count(value: number): string {
  return whole.format(value);
}

/** Three digits that matter: 0.499, 12.3, 1,230; very small ones as 1.2e-5. */
export function figure(value: number): string {
  return value !== 0 && Math.abs(value) < 0.001 ? value.toExponential(1) : precise.format(value);
}

export function percent(share: number): string {
  const digits = share > 0.999 || share < 0.001 ? 2 : 1;
  return `${(100 * share).toFixed(digits)} %`;
}

/** Micrometres, or millimetres from one on. */
export function length(um: number): string {
  return um >= 1000 ? `${figure(um / 1000)} mm` : `${figure(um)} µm`;
}

/** The largest of 1, 2, 5 times a power of ten that is not above `most`. */
export function roundLength(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most));
  return ([5, 2, 1].find((digit) => digit * power <= most) ?? 1) * power;
}
