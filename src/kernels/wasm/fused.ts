/**
 * The two builds of the wasm module: with fused multiply-add (relaxed SIMD) and without, for engines that lack it. Which one
 * runs depends on the engine alone, so the same machine gives the same bits.
 */

export type Build = 'fused' | 'plain';

export const moduleFile: Readonly<Record<Build, string>> = {
  fused: 'lamina-fused.wasm',
  plain: 'lamina.wasm',
};

/** The least module with f32x4.relaxed_madd: (a, b, c) -> lane 0 of a b + c. */
// biome-ignore format: a module, section by section
const PROBE = Uint8Array.of(
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
  1, 8, 1, 0x60, 3, 0x7d, 0x7d, 0x7d, 1, 0x7d,
  3, 2, 1, 0,
  7, 5, 1, 1, 0x66, 0, 0,
  10, 22, 1, 20, 0,
  0x20, 0, 0xfd, 0x13, 0x20, 1, 0xfd, 0x13, 0x20, 2, 0xfd, 0x13, 0xfd, 0x85, 2, 0xfd, 0x1f, 0, 0x0b,
);

/** Whether the engine has the instruction, and with the operands where the standard has them (drafts had another order). */
export function canFuse(): boolean {
  if (!WebAssembly.validate(PROBE)) return false;
  const { f } = new WebAssembly.Instance(new WebAssembly.Module(PROBE)).exports as { f: (...abc: number[]) => number };
  return f(2, 3, 4) === 10;
}
