// Numbers of `stain-texture-on-device.ts` in `tables`, in its order, and where the facts about a patch lie.
const UNMIX_AT: u32 = 256u;
const TOTAL_AT: u32 = 265u;
const RANGES_AT: u32 = 268u;
const QUANTILES_AT: u32 = 280u;
const SHAPES_AT: u32 = 285u;
const NUCLEUS_AT: u32 = 309u;
const MEANS_AT: u32 = 311u;
const DEVIATIONS_AT: u32 = 439u;
const LIMIT_AT: u32 = 567u;

const FACTS: u32 = 1056u;
// 6 octaves x 3 stains x (edge, corner).
const BANDS_AT: u32 = 0u;
// Of plane 1 and plane 3: 3 means, 3 deviations, 3 correlations; members of the nuclear mask, 4 sums over them.
const MOMENTS_AT: u32 = 36u;
// 3 stains x 64 levels.
const LEVELS_AT: u32 = 64u;
// 3 kinds x (pixels, pairs, squares, sides) x 64 levels.
const SHAPE_COUNTS_AT: u32 = 256u;
// 2 stains x 10 classes.
const PATTERNS_AT: u32 = 1024u;
// 2 stains x (xx, yy, xy, aligned).
const GRADIENTS_AT: u32 = 1044u;

// One of 64 levels of a value within a range: of the three stains, or of the total density.
fn level_of(value: f32, range: u32) -> u32 {
  let at = args.tables_at + RANGES_AT + 3u * range;
  return u32(clamp((value - tables[at]) * tables[at + 2u], 0.0, 63.0));
}
