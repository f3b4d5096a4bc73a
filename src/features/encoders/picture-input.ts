/** Patches into the tensor that a network takes: recoloured, resized, normalised, in its layout and type. */
import type { PatchBatch } from '../encoder.ts';
import { toHalf } from '../half.ts';
import { createRecolour, type Recolour } from '../recolour.ts';
import { openPixelLoops, type PixelMemory } from '../wasm/open.ts';
import type { GraphPlan } from './graph.ts';
import type { Recipe } from './recipe.ts';
import { createResize } from './resize.ts';

export type PixelData = Float32Array | Uint16Array | Uint8Array;

export interface PictureInput {
  /**
   * The patches from `first` on, `count` of them; where the batch ends earlier, the rest is what was there before.
   * The array is the same at each call of the same count. Halves are 16-bit words.
   */
  fill(batch: PatchBatch, first: number, count: number): PixelData;
}

/** How the network takes pictures. */
export type Pictures = Pick<GraphPlan, 'size' | 'layout' | 'type'>;

type Preprocessing = Pick<Recipe, 'mean' | 'std' | 'interpolation' | 'resize'>;

export function createPictureInput({ size, layout, type }: Pictures, recipe: Preprocessing): PictureInput {
  const numbers = 3 * size * size;
  const write =
    type === 'float32' && layout === 'nchw' ? planarFloats(size, recipe) : byTable(size, layout, type, recipe);
  let room: ReturnType<typeof write.room> | null = null;
  let patch: PatchRoom | null = null;

  return {
    fill(batch, first, count) {
      if (room === null || room.capacity < count) room = write.room(count);
      if (patch?.size !== batch.size) patch = patchRoom(batch.size, size, recipe);
      for (let i = 0; i < Math.min(count, batch.count - first); i++) {
        write.picture(room, patch.take(batch, first + i), i);
      }
      return room.data.subarray(0, count * numbers);
    },
  };
}

interface PatchRoom {
  /** Side of the patches that come. */
  readonly size: number;
  /** Recoloured and resized; the next call overwrites it. */
  take(batch: PatchBatch, index: number): Uint8Array;
}

function patchRoom(from: number, to: number, { interpolation, resize: between }: Preprocessing): PatchRoom {
  const bytes = 3 * from * from;
  const memory = openPixelLoops(bytes + 65536);
  const original = memory.u8(bytes);
  const resize = from === between ? null : createResize(from, between, interpolation);
  const resized = resize && new Uint8Array(3 * between * between);
  const middle = between === to ? null : new Uint8Array(3 * to * to);
  let recolour: Recolour | null = null;
  return {
    size: from,
    take({ pixels, recolouring }, index) {
      let source = pixels.subarray(index * bytes, (index + 1) * bytes);
      if (recolouring) {
        recolour ??= createRecolour(memory);
        original.set(source);
        recolour(original, recolouring, index);
        source = original;
      }
      resize?.(source, resized!);
      if (!middle) return resized ?? source;
      cutMiddle(resized ?? source, between, middle, to);
      return middle;
    },
  };
}

/** As torchvision's CenterCrop, which rounds the margin, and a half to the even side. */
function cutMiddle(source: Uint8Array, from: number, target: Uint8Array, to: number): void {
  const half = (from - to) / 2;
  const margin = Number.isInteger(half) ? half : 2 * Math.round(half / 2);
  for (let row = 0; row < to; row++) {
    const start = ((margin + row) * from + margin) * 3;
    target.set(source.subarray(start, start + 3 * to), row * to * 3);
  }
}

interface Room {
  readonly capacity: number;
  readonly data: PixelData;
  readonly memory: PixelMemory | null;
  /** A picture on its way, in the memory. */
  readonly picture: Uint8Array | null;
  readonly factors: Float32Array | null;
}

interface Writer {
  room(capacity: number): Room;
  picture(room: Room, rgb: Uint8Array, index: number): void;
}

/** What nearly all networks want, in WebAssembly. */
function planarFloats(size: number, { mean, std }: Preprocessing): Writer {
  const pixels = size * size;
  return {
    room(capacity) {
      const memory = openPixelLoops(capacity * pixels * 12 + pixels * 3);
      const factors = memory.f32(6);
      factors.set([...std.map((s) => 1 / (255 * s)), ...mean.map((m, i) => -m / std[i]!)]);
      return { capacity, memory, factors, picture: memory.u8(3 * pixels), data: memory.f32(capacity * 3 * pixels) };
    },
    picture({ memory, picture, factors, data }, rgb, index) {
      picture!.set(rgb);
      const out = data.byteOffset + index * pixels * 12;
      memory!.loops.planar(picture!.byteOffset, pixels, factors!.byteOffset, out);
    },
  };
}

/** Every byte of every channel has one value. */
function byTable(size: number, layout: GraphPlan['layout'], type: GraphPlan['type'], recipe: Preprocessing): Writer {
  const pixels = size * size;
  const tables = [0, 1, 2].map((channel) => tableOf(type, recipe.mean[channel]!, recipe.std[channel]!));
  const [step, plane] = layout === 'nchw' ? [1, pixels] : [3, 1];
  const make = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array }[type];
  return {
    room: (capacity) => ({
      capacity,
      data: new make(capacity * 3 * pixels),
      memory: null,
      picture: null,
      factors: null,
    }),
    picture({ data }, rgb, index) {
      for (let channel = 0; channel < 3; channel++) {
        const table = tables[channel]!;
        let to = index * 3 * pixels + channel * plane;
        for (let from = channel; from < rgb.length; from += 3, to += step) data[to] = table[rgb[from]!]!;
      }
    },
  };
}

function tableOf(type: GraphPlan['type'], mean: number, std: number): PixelData {
  if (type === 'uint8') return Uint8Array.from({ length: 256 }, (_, byte) => byte);
  const floats = Float32Array.from({ length: 256 }, (_, byte) => (byte / 255 - mean) / std);
  if (type === 'float32') return floats;
  const halves = new Uint16Array(256);
  toHalf(floats, halves);
  return halves;
}
