// Sum and maximum over a workgroup of LANES, known to all its threads, always added in the same order.
// Barriers: one before each level of the tree reads what the level below wrote, one before the root is overwritten.
const LANES: u32 = 64;
var<workgroup> tree: array<f32, LANES>;

fn tree_sum(value: f32, lane: u32) -> f32 {
  tree[lane] = value;
  for (var half = LANES / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) {
      tree[lane] += tree[lane + half];
    }
  }
  workgroupBarrier();
  let total = tree[0];
  workgroupBarrier();
  return total;
}

fn tree_max(value: f32, lane: u32) -> f32 {
  tree[lane] = value;
  for (var half = LANES / 2u; half > 0u; half >>= 1u) {
    workgroupBarrier();
    if (lane < half) {
      tree[lane] = max(tree[lane], tree[lane + half]);
    }
  }
  workgroupBarrier();
  let total = tree[0];
  workgroupBarrier();
  return total;
}
