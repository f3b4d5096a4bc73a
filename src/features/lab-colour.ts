/**
 * Ruderman's l, alpha, beta: the colour space of Reinhard et al., Color transfer between images, IEEE CG&A 21 (2001), whose
 * matrices these are. Bytes are taken as 1..256, so that black has a logarithm.
 */
const FORWARD = [0.3811, 0.5783, 0.0402, 0.1967, 0.7244, 0.0782, 0.0241, 0.1288, 0.8444];
const BACK = [4.4679, -3.5873, 0.1193, -1.2186, 2.3809, -0.1624, 0.0497, -0.2439, 1.2045];
const [R3, R6, R2] = [1 / Math.sqrt(3), 1 / Math.sqrt(6), 1 / Math.sqrt(2)];

/** @param lab receives three numbers for the pixel at byte `at`. */
export function toLab(rgb: Uint8Array, at: number, lab: Float64Array): void {
  const [r, g, b] = [(rgb[at]! + 1) / 256, (rgb[at + 1]! + 1) / 256, (rgb[at + 2]! + 1) / 256];
  const l = Math.log10(FORWARD[0]! * r + FORWARD[1]! * g + FORWARD[2]! * b);
  const m = Math.log10(FORWARD[3]! * r + FORWARD[4]! * g + FORWARD[5]! * b);
  const s = Math.log10(FORWARD[6]! * r + FORWARD[7]! * g + FORWARD[8]! * b);
  lab[0] = R3 * (l + m + s);
  lab[1] = R6 * (l + m - 2 * s);
  lab[2] = R2 * (l - m);
}

export function fromLab(lab: Float64Array, rgb: Uint8Array, at: number): void {
  const [x, y, z] = [R3 * lab[0]!, R6 * lab[1]!, R2 * lab[2]!];
  const [l, m, s] = [10 ** (x + y + z), 10 ** (x + y - z), 10 ** (x - 2 * y)];
  for (let k = 0; k < 3; k++) {
    const value = BACK[3 * k]! * l + BACK[3 * k + 1]! * m + BACK[3 * k + 2]! * s;
    rgb[at + k] = Math.max(0, Math.min(255, Math.round(256 * value - 1)));
  }
}
