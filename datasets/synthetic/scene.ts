/**
 * What a synthetic slide shows, as a list of things with places: pieces of tissue, glands, fat, lymphoid aggregates, tumour
 * nests and every nucleus. Sizes are given in micrometres and stored in level-0 px. Painting it is `paint.ts`.
 */
import { createRandom, integer, normal, type Random } from '../../src/random.ts';
import type { Level0Px, Mpp } from '../../src/units.ts';
import { createFibres, type FibreField } from './fibres.ts';
import { createNoise, type Noise, sample } from './noise.ts';
import { area, bounds, contains, createOutline, depth, lattice, type Outline, reach } from './outline.ts';

export interface SceneOptions {
  readonly seed: number;
  readonly widthPx: Level0Px;
  readonly heightPx: Level0Px;
  readonly mpp: Mpp;
  readonly tumour: boolean;
}

export interface Gland {
  readonly outline: Outline;
  /** Relative depth at which the lumen begins. */
  readonly lumen: number;
}

/** An ellipse of chromatin. Lengths in level-0 px; stain amounts 0..255 as in the planes of `paint.ts`. */
export interface Nucleus {
  readonly x: number;
  readonly y: number;
  readonly semiMajor: number;
  readonly semiMinor: number;
  readonly angle: number;
  /** Amount of haematoxylin. */
  readonly chroma: number;
  /** How strongly chromatin clumps: 0 is even. */
  readonly clumping: number;
}

export interface Textures {
  /** Streaks: long in y (along the fibres), short in x. */
  readonly fibre: Noise;
  readonly cloud: Noise;
  readonly grain: Noise;
}

export interface Scene {
  readonly options: SceneOptions;
  readonly tissue: readonly Outline[];
  readonly fat: readonly Outline[];
  readonly glands: readonly Gland[];
  readonly lymphoid: readonly Outline[];
  readonly nests: readonly Outline[];
  readonly nuclei: readonly Nucleus[];
  readonly fibres: FibreField;
  readonly textures: Textures;
}

/** Share of a tumour slide's tissue that its nests fill, at least. */
const TUMOUR_SHARE = 0.22;
/** Half the width, in steps of the cloud, of the winding line along which a nest shows stroma instead of tumour cells. */
const SEPTUM = 9;

export function createScene(options: SceneOptions): Scene {
  const { widthPx, heightPx, mpp } = options;
  const random = createRandom(options.seed);
  const um = 1 / mpp;
  const fibres = createFibres(random, 900 * um);
  const textures = createTextures(random, um);
  const tissue = placeTissue(random, widthPx, heightPx);
  const lobules = placeLobules(random, tissue, um);
  const fat = lobules.flatMap((lobule) => fatCells(random, lobule, um));
  const nests = options.tumour ? placeNests(random, tissue, lobules, um) : [];
  const lymphoid = placeLymphoid(random, tissue, [...lobules, ...nests], um);
  const glands = placeGlands(random, tissue, [...lobules, ...nests, ...lymphoid], textures, um);
  const scene = { options, tissue, fat, glands, lymphoid, nests, fibres, textures };
  return { ...scene, nuclei: placeNuclei(random, scene, um) };
}

/** The glass of a scene with nothing on it. */
export function emptyScene(scene: Scene): Scene {
  return { ...scene, tissue: [], fat: [], glands: [], lymphoid: [], nests: [], nuclei: [] };
}

/** Whether a place inside a nest is tumour cells rather than the thin stroma between them. */
export function isTumourSheet(textures: Textures, x: number, y: number): boolean {
  return Math.abs(sample(textures.cloud, x + (y >> 2), y - (x >> 2)) - 118) >= SEPTUM;
}

function createTextures(random: Random, um: number): Textures {
  const power = (px: number) => 2 ** Math.max(0, Math.round(Math.log2(px)));
  return {
    fibre: createNoise(random, 1024, power(2.2 * um), power(45 * um)),
    cloud: createNoise(random, 1024, power(64 * um), power(64 * um)),
    grain: createNoise(random, 512, power(1 * um), power(1 * um)),
  };
}

function placeTissue(random: Random, width: number, height: number): Outline[] {
  const pieces = width > height && random() < 0.5 ? 2 : 1;
  return Array.from({ length: pieces }, (_, i) =>
    createOutline(
      random,
      (width * (i + 0.5 + 0.06 * (random() - 0.5))) / pieces,
      height * (0.5 + 0.04 * (random() - 0.5)),
      {
        radiusX: (width / pieces) * (0.34 + 0.05 * random()),
        radiusY: height * (0.33 + 0.06 * random()),
        waviness: 0.055,
        waves: 48,
      },
    ),
  );
}

/** Tries places inside the tissue until one is free of what is there already. */
function findPlace(random: Random, tissue: readonly Outline[], taken: readonly Outline[], radius: number, gap: number) {
  for (let attempt = 0; attempt < 200; attempt++) {
    const piece = tissue[integer(random, tissue.length)]!;
    const x = piece.x + piece.radiusX * (2 * random() - 1);
    const y = piece.y + piece.radiusY * (2 * random() - 1);
    const rim = Array.from({ length: 8 }, (_, i) => (Math.PI * i) / 4);
    const inside = rim.every((a) => contains(piece, x + radius * Math.cos(a), y + radius * Math.sin(a), 0.94));
    const free = taken.every((other) => Math.hypot(other.x - x, other.y - y) > reach(other) + radius + gap);
    if (inside && free) return { x, y };
  }
  return null;
}

function placeNests(random: Random, tissue: readonly Outline[], taken: readonly Outline[], um: number): Outline[] {
  const whole = sum(tissue.map(area));
  const widest = narrowest(tissue);
  const nests: Outline[] = [];
  // Smaller and smaller nests, so that the share is reached in crowded tissue as well.
  for (let size = 1; size > 0.2 && sum(nests.map(area)) < TUMOUR_SHARE * whole; size *= 0.93) {
    const radius = Math.min((190 + 110 * random()) * um, 0.45 * widest) * size;
    const place = findPlace(random, tissue, [...taken, ...nests], radius * 1.15, 25 * um);
    if (place)
      nests.push(
        createOutline(random, place.x, place.y, {
          radiusX: radius,
          radiusY: radius * (0.75 + 0.3 * random()),
          waviness: 0.11,
          waves: 12,
        }),
      );
  }
  if (nests.length === 0) throw new RangeError('the slide is too small for a tumour');
  return nests;
}

function placeLymphoid(random: Random, tissue: readonly Outline[], taken: readonly Outline[], um: number): Outline[] {
  const aggregates: Outline[] = [];
  const count = Math.round(sum(tissue.map(area)) / (1100 * um) ** 2) + integer(random, 2);
  for (let i = 0; i < count; i++) {
    const radius = (70 + 60 * random()) * um;
    const place = findPlace(random, tissue, [...taken, ...aggregates], radius, 20 * um);
    if (place) aggregates.push(createOutline(random, place.x, place.y, { radiusX: radius, waviness: 0.12, waves: 8 }));
  }
  return aggregates;
}

function placeLobules(random: Random, tissue: readonly Outline[], um: number): Outline[] {
  const radius = Math.min(220 * um, 0.4 * narrowest(tissue));
  const place = random() < 0.7 ? findPlace(random, tissue, [], radius, 0) : null;
  return place ? [createOutline(random, place.x, place.y, { radiusX: radius, waviness: 0.16 })] : [];
}

function fatCells(random: Random, lobule: Outline, um: number): Outline[] {
  const size = () => (23 + 7 * random()) * um;
  return [...lattice(random, bounds(lobule), 54 * um, 0.25)]
    .filter(([x, y]) => contains(lobule, x, y))
    .map(([x, y]) => createOutline(random, x, y, { radiusX: size(), radiusY: size(), waviness: 0.06 }));
}

function placeGlands(
  random: Random,
  tissue: readonly Outline[],
  taken: readonly Outline[],
  { cloud }: Textures,
  um: number,
): Gland[] {
  const glands: Gland[] = [];
  for (const piece of tissue) {
    for (const [x, y] of lattice(random, bounds(piece), 150 * um, 0.4)) {
      const radius = (36 + 26 * random()) * um;
      const free = taken.every((other) => Math.hypot(other.x - x, other.y - y) > reach(other) + radius);
      if (!free || !contains(piece, x, y, 0.9) || sample(cloud, x / 8, y / 8) < 90) continue;
      const shape = { radiusX: radius, radiusY: radius * (0.7 + 0.5 * random()), waviness: 0.09 };
      glands.push({ outline: createOutline(random, x, y, shape), lumen: 0.3 + 0.25 * random() });
    }
  }
  return glands;
}

function placeNuclei(random: Random, scene: Omit<Scene, 'nuclei'>, um: number): Nucleus[] {
  return [
    ...stromaNuclei(random, scene, um),
    ...scene.glands.flatMap((gland) => glandNuclei(random, gland, um)),
    ...scene.lymphoid.flatMap((aggregate) => lymphocytes(random, aggregate, um)),
    ...scene.nests.flatMap((nest) => [...tumourNuclei(random, nest, scene.textures, um)]),
  ];
}

/** Spindle cells along the fibres, and a few lymphocytes among them. */
function* stromaNuclei(random: Random, scene: Omit<Scene, 'nuclei'>, um: number): Generator<Nucleus> {
  const holes = createIndex([...scene.fat, ...scene.glands.map((gland) => gland.outline)]);
  for (const piece of scene.tissue) {
    for (const [x, y] of lattice(random, bounds(piece), 27 * um, 0.9)) {
      if (!contains(piece, x, y, 0.985) || holes.some(x, y, 1.06)) continue;
      if (scene.nests.some((nest) => contains(nest, x, y)) && isTumourSheet(scene.textures, x, y)) continue;
      if (random() < 0.12) {
        yield lymphocyte(random, x, y, um);
        continue;
      }
      yield {
        x,
        y,
        semiMajor: (5 + 2.5 * random()) * um,
        semiMinor: (1.3 + 0.7 * random()) * um,
        angle: scene.fibres.direction(x, y) + 0.2 * normal(random),
        chroma: 150 + 18 * normal(random),
        clumping: 0.15,
      };
    }
  }
}

/** A ring of columnar nuclei, standing on the rim of the gland and pointing at its lumen. */
function glandNuclei(random: Random, { outline }: Gland, um: number): Nucleus[] {
  const length = 2 * Math.PI * Math.sqrt((outline.radiusX ** 2 + outline.radiusY ** 2) / 2);
  const count = Math.round(length / (5.6 * um));
  return Array.from({ length: count }, (_, i) => {
    const angle = (2 * Math.PI * (i + 0.5 * random())) / count;
    const along = angle / (2 * Math.PI);
    const radius = outline.profile[Math.floor(along * outline.profile.length)]!;
    const scale = radius * (1 - (7 + 1.2 * normal(random)) / (Math.min(outline.radiusX, outline.radiusY) / um));
    return {
      x: outline.x + outline.radiusX * scale * Math.cos(angle),
      y: outline.y + outline.radiusY * scale * Math.sin(angle),
      semiMajor: (4 + 0.5 * normal(random)) * um,
      semiMinor: (2.4 + 0.2 * normal(random)) * um,
      angle: Math.atan2(outline.radiusX * Math.sin(angle), outline.radiusY * Math.cos(angle)) + 0.1 * normal(random),
      chroma: 158 + 12 * normal(random),
      clumping: 0.2,
    };
  });
}

function lymphocyte(random: Random, x: number, y: number, um: number): Nucleus {
  const radius = (2.9 + 0.25 * normal(random)) * um;
  const chroma = 205 + 10 * normal(random);
  return { x, y, semiMajor: radius * 1.06, semiMinor: radius, angle: Math.PI * random(), chroma, clumping: 0.3 };
}

function lymphocytes(random: Random, aggregate: Outline, um: number): Nucleus[] {
  return [...lattice(random, bounds(aggregate), 7.2 * um, 0.5)]
    .filter(([x, y]) => random() > (depth(aggregate, x, y) - 0.75) / 0.4)
    .map(([x, y]) => lymphocyte(random, x, y, um));
}

/** Crowded, large, dark and of every size, with nucleoli, and a mitosis here and there. */
function* tumourNuclei(random: Random, nest: Outline, textures: Textures, um: number): Generator<Nucleus> {
  for (const [x, y] of lattice(random, bounds(nest), 10.8 * um, 0.75)) {
    if (!contains(nest, x, y, 0.985) || !isTumourSheet(textures, x, y)) continue;
    const angle = Math.PI * random();
    if (random() < 0.008) {
      yield { x, y, semiMajor: 5 * um, semiMinor: 1.6 * um, angle, chroma: 250, clumping: 0.1 };
      continue;
    }
    const semiMinor = Math.min(3.8 * Math.exp(0.24 * normal(random)), 7.5) * um;
    const semiMajor = semiMinor * (1 + 0.6 * random());
    const chroma = Math.min(178 + 26 * normal(random), 245);
    yield { x, y, semiMajor, semiMinor, angle, chroma, clumping: 0.42 };
    if (semiMinor > 3.2 * um && random() < 0.6) {
      const offset = 0.4 * semiMinor * (random() - 0.5);
      const nucleolus = (0.9 + 0.4 * random()) * um;
      yield {
        x: x + offset,
        y: y - offset,
        semiMajor: nucleolus,
        semiMinor: nucleolus,
        angle: 0,
        chroma: chroma + 55,
        clumping: 0,
      };
    }
  }
}

/** Outlines by squares of the slide, so that asking for one place does not ask all of them. */
function createIndex(outlines: readonly Outline[]) {
  const side = 512;
  const cells = new Map<string, Outline[]>();
  for (const outline of outlines) {
    const { left, top, right, bottom } = bounds(outline);
    for (let row = Math.floor(top / side) - 1; row <= bottom / side + 1; row++) {
      for (let column = Math.floor(left / side) - 1; column <= right / side + 1; column++) {
        const key = `${column},${row}`;
        cells.set(key, [...(cells.get(key) ?? []), outline]);
      }
    }
  }
  return {
    some(x: number, y: number, scale: number): boolean {
      const near = cells.get(`${Math.floor(x / side)},${Math.floor(y / side)}`) ?? [];
      return near.some((outline) => contains(outline, x, y, scale));
    },
  };
}

/** Smallest half-width of the pieces. */
function narrowest(tissue: readonly Outline[]): number {
  return Math.min(...tissue.map((piece) => Math.min(piece.radiusX, piece.radiusY)));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
