// Sum and maximum over a workgroup of 64, known to all its threads, always added in the same order.
// Barriers: one before each level of the tree reads what the level below wrote, one before the root is overwritten.
var<workgroup> tree: array<f32, 64>;

fn tree_sum(value: f32, lane: u32) -> f32 {
  tree[lane] = value;
  for (var half = 32u; half > 0u; half >>= 1u) {
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
  for (var half = 32u; half > 0u; half >>= 1u) {
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
