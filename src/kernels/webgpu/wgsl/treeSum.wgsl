// Sum and maximum over a workgroup of LANES, known to all its threads, always added in the same order: a tree of two levels,
// in which BRANCHES threads add LANES / BRANCHES values each, and every thread adds their sums. Barriers: one before each
// level. The next tree may follow at once: its first barrier lies between the last reads of a level and the next writes.
const LANES: u32 = 64;
const BRANCHES: u32 = 16;
var<workgroup> leaves: array<f32, LANES>;
var<workgroup> branches: array<f32, BRANCHES>;

fn tree_sum(value: f32, lane: u32) -> f32 {
  leaves[lane] = value;
  workgroupBarrier();
  if (lane < BRANCHES) {
    var sum = 0.0;
    for (var i = lane; i < LANES; i += BRANCHES) {
      sum += leaves[i];
    }
    branches[lane] = sum;
  }
  workgroupBarrier();
  var total = 0.0;
  for (var i = 0u; i < BRANCHES; i++) {
    total += branches[i];
  }
  return total;
}

fn tree_max(value: f32, lane: u32) -> f32 {
  leaves[lane] = value;
  workgroupBarrier();
  if (lane < BRANCHES) {
    var most = leaves[lane];
    for (var i = lane + BRANCHES; i < LANES; i += BRANCHES) {
      most = max(most, leaves[i]);
    }
    branches[lane] = most;
  }
  workgroupBarrier();
  var most = branches[0];
  for (var i = 1u; i < BRANCHES; i++) {
    most = max(most, branches[i]);
  }
  return most;
}
