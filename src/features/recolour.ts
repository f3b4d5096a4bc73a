/** Applies a slide's `Recolouring` (`stain.ts`) to patches, in place. */
import { createRandom } from '../random.ts';
import { fromLab, toLab } from './lab-colour.ts';
import type { Recolouring, StainAugmentation, StainMatrix, StainTransform } from './stain.ts';
import { DENSITY, H_AND_E, UNMIX } from './stain-planes.ts';
import type { PixelMemory } from './wasm/open.ts';

/** Entries of the table that turns densities into bytes, as `restain` has them, and how many a unit of density has. */
const LIGHTS = 4096;
const PER_DENSITY = 1024;

/** Changes the patch of `pixels` pixels at `rgb`, an array of the memory that the function was made for. */
export type Recolour = (rgb: Uint8Array, recolouring: Recolouring, patch: number) => void;

export function createRecolour({ loops, f32, u8 }: PixelMemory): Recolour {
  const density = f32(256);
  density.set(DENSITY);
  const light = u8(LIGHTS);
  light.set(Uint8Array.from({ length: LIGHTS }, (_, i) => byteOf(i / PER_DENSITY)));
  const unmixing = f32(6);
  const stains = f32(6);
  const change = f32(4);

  function restain(rgb: Uint8Array, unmix: StainMatrix, scale: Pair, shift: Pair, mixed: StainMatrix, keep: number) {
    unmixing.set(unmix);
    change.set([...scale, ...shift]);
    stains.set(mixed);
    const addresses = [density, unmixing, change, stains].map(({ byteOffset }) => byteOffset);
    const [ofDensity, ofUnmixing, ofChange, ofStains] = addresses as [number, number, number, number];
    const n = rgb.length / 3;
    const lights = light.byteOffset;
    loops.restain(rgb.byteOffset, n, ofDensity, ofUnmixing, ofChange, ofStains, keep, lights, PER_DENSITY);
  }

  return (rgb, { transform, augmentation, first }, patch) => {
    const chance = augmentation && drawn(augmentation, first + patch);
    if (transform?.kind === 'stains') {
      const { unmix, scale, stains: target } = transform;
      const [a, b] = chance ? chance.factors : [1, 1];
      restain(rgb, unmix, [scale[0] * a, scale[1] * b], chance?.shifts ?? [0, 0], target, 0);
      return;
    }
    if (transform) relab(rgb, transform);
    if (chance) {
      // The change alone is mixed in, so that what the two stains do not explain stays.
      const [a, b] = chance.factors;
      restain(rgb, STANDARD_UNMIX, [a - 1, b - 1], chance.shifts, H_AND_E, 1);
    }
  };
}

type Pair = readonly [number, number];

/** Amounts of haematoxylin and eosin, of the published three stains. */
const STANDARD_UNMIX = [0, 1].flatMap((stain) => UNMIX.map((colour) => colour[stain]!)) as unknown as StainMatrix;

function byteOf(density: number): number {
  return Math.max(0, Math.min(255, Math.round(256 * 10 ** -density - 1)));
}

function drawn({ seed, strength }: StainAugmentation, patch: number): { factors: Pair; shifts: Pair } {
  const random = createRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(patch + 1, 0x85ebca6b));
  const even = (reach: number) => reach * (2 * random() - 1);
  return { factors: [1 + even(strength), 1 + even(strength)], shifts: [even(strength / 4), even(strength / 4)] };
}

function relab(rgb: Uint8Array, { scale, shift }: Extract<StainTransform, { kind: 'lab' }>): void {
  const lab = new Float64Array(3);
  for (let i = 0; i < rgb.length; i += 3) {
    toLab(rgb, i, lab);
    for (let k = 0; k < 3; k++) lab[k] = lab[k]! * scale[k]! + shift[k]!;
    fromLab(lab, rgb, i);
  }
}
