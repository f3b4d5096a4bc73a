/** Closed wavy curves around a centre: the shape of a piece of tissue, a gland, a fat cell, a tumour nest. */
import type { Random } from '../../src/random.ts';

/** Star-shaped in the plane stretched to its axes: one radius for each direction. Level-0 px. */
export interface Outline {
  readonly x: number;
  readonly y: number;
  readonly radiusX: number;
  readonly radiusY: number;
  /** Relative radius at equal steps of the angle, about 1. */
  readonly profile: Float32Array;
}

export interface OutlineShape {
  readonly radiusX: number;
  readonly radiusY?: number;
  /** Standard deviation of the relative radius: 0 gives an ellipse. */
  readonly waviness: number;
  /** Highest number of waves around the curve; more make it ragged. */
  readonly waves?: number;
}

const TURN = 2 * Math.PI;

export function createOutline(random: Random, x: number, y: number, shape: OutlineShape): Outline {
  const { radiusX, radiusY = radiusX, waviness, waves = 6 } = shape;
  const steps = Math.max(48, waves * 8);
  const profile = new Float32Array(steps).fill(1);
  for (let k = 2; k <= waves; k++) {
    const amplitude = (waviness * (0.5 + random())) / k ** 1.15;
    const phase = TURN * random();
    for (let i = 0; i < steps; i++) profile[i]! += amplitude * Math.cos((k * TURN * i) / steps + phase);
  }
  return { x, y, radiusX, radiusY, profile };
}

/** Whether a point lies inside the curve shrunk (or grown) by `scale`. */
export function contains(outline: Outline, x: number, y: number, scale = 1): boolean {
  return depth(outline, x, y) <= scale;
}

/** Distance from the centre relative to the curve: 0 in the centre, 1 on the curve. */
export function depth({ x: cx, y: cy, radiusX, radiusY, profile }: Outline, x: number, y: number): number {
  const dx = (x - cx) / radiusX;
  const dy = (y - cy) / radiusY;
  const turn = (Math.atan2(dy, dx) / TURN + 1) * profile.length;
  const step = Math.floor(turn);
  const from = profile[step % profile.length]!;
  const to = profile[(step + 1) % profile.length]!;
  return Math.hypot(dx, dy) / (from + (to - from) * (turn - step));
}

/** Corners of the curve, clockwise on the screen, open (the first is not repeated); level-0 px. */
export function corners({ x, y, radiusX, radiusY, profile }: Outline, scale = 1): [number, number][] {
  return Array.from(profile, (radius, i) => {
    const angle = (TURN * i) / profile.length;
    return [x + radiusX * scale * radius * Math.cos(angle), y + radiusY * scale * radius * Math.sin(angle)];
  });
}

/** Area inside, level-0 px squared. */
export function area(outline: Outline): number {
  const points = corners(outline);
  return Math.abs(
    points.reduce((sum, [x, y], i) => {
      const [nextX, nextY] = points[(i + 1) % points.length]!;
      return sum + (x * nextY - nextX * y) / 2;
    }, 0),
  );
}

/** Farthest that the curve reaches from its centre. */
export function reach(outline: Outline): number {
  return Math.max(outline.radiusX, outline.radiusY) * outline.profile.reduce((most, r) => Math.max(most, r), 0);
}

/** Points of a jittered hexagonal lattice inside a rectangle: crowded but never on top of each other. */
export function* lattice(
  random: Random,
  { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number },
  spacing: number,
  jitter: number,
): Generator<[number, number]> {
  let odd = false;
  for (let y = top; y < bottom; y += spacing * 0.866) {
    odd = !odd;
    for (let x = left + (odd ? spacing / 2 : 0); x < right; x += spacing) {
      yield [x + spacing * jitter * (random() - 0.5), y + spacing * jitter * (random() - 0.5)];
    }
  }
}

/** The rectangle that holds the curve. */
export function bounds(outline: Outline): { left: number; top: number; right: number; bottom: number } {
  const r = reach(outline);
  return { left: outline.x - r, top: outline.y - r, right: outline.x + r, bottom: outline.y + r };
}
