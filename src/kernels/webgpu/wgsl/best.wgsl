// The best of a workgroup's candidates, known to all its threads: the largest key, of equal ones the earliest position.
// Position -1 is no candidate. Barriers: one before each level of the tree
// reads what the level below wrote, one before the root is overwritten.
const LANES: u32 = 64;
var<workgroup> best_keys: array<f32, LANES>;
var<workgroup> best_positions: array<i32, LANES>;

fn better(key: f32, position: i32, than_key: f32, than_position: i32) -> bool {
  if (position < 0) {
    return false;
  }
  return than_position < 0 || key > than_key || (key == than_key && position < than_position);
}

fn best_of(key: f32, position: i32, lane: u32) -> i32 {
  best_keys[lane] = key;
  best_positions[lane] = position;
  for (var half = LANES / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half && better(best_keys[lane + half], best_positions[lane + half], best_keys[lane], best_positions[lane])) {
      best_keys[lane] = best_keys[lane + half];
      best_positions[lane] = best_positions[lane + half];
    }
  }
  workgroupBarrier();
  let found = best_positions[0];
  workgroupBarrier();
  return found;
}
