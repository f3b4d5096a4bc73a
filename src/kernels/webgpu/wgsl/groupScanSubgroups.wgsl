enable subgroups;
// Exclusive scan of pairs over the T lanes of each of SCANS channels (or channel and state), by subgroup operations.
// (a, b) stands for f -> a f + b; pairs compose from left to right. Rows of ROW lanes (no longer than the smallest
// subgroup of the adapter) scan by doubling shuffles, log2 ROW steps. When T is longer, the rows' totals go through
// workgroup memory with one barrier; two buffers taken in turn (`turn`) make a second one unnecessary.
const SUBGROUP: u32 = 32;
const ROW: u32 = min(T, SUBGROUP);
var<workgroup> scan_totals: array<vec2f, 2 * SCANS * (T / ROW)>;

fn compose(first: vec2f, second: vec2f) -> vec2f {
  return vec2f(first.x * second.x, second.x * first.y + second.y);
}

// Adds the rows before to the exclusive scan within a row. `rank` counts lanes in the direction of the scan.
fn scan_rows(before: vec2f, whole: vec2f, rank: u32, channel: u32, turn: u32) -> vec2f {
  if (T == ROW) {
    return before;
  }
  let base = ((turn & 1u) * SCANS + channel) * (T / ROW);
  if (rank % ROW == ROW - 1u) {
    scan_totals[base + rank / ROW] = whole;
  }
  workgroupBarrier();
  var rows = vec2f(1.0, 0.0);
  for (var i = 0u; i < rank / ROW; i++) {
    rows = compose(rows, scan_totals[base + i]);
  }
  return compose(rows, before);
}

fn scan_up(pair: vec2f, lane: u32, channel: u32, turn: u32) -> vec2f {
  let at = lane % ROW;
  var whole = pair;
  for (var d = 1u; d < ROW; d <<= 1u) {
    let left = subgroupShuffleUp(whole, d);
    whole = select(whole, compose(left, whole), at >= d);
  }
  let left = subgroupShuffleUp(whole, 1u);
  return scan_rows(select(vec2f(1.0, 0.0), left, at > 0u), whole, lane, channel, turn);
}

fn scan_down(pair: vec2f, lane: u32, channel: u32, turn: u32) -> vec2f {
  let at = lane % ROW;
  var whole = pair;
  for (var d = 1u; d < ROW; d <<= 1u) {
    let right = subgroupShuffleDown(whole, d);
    whole = select(whole, compose(right, whole), at + d < ROW);
  }
  let right = subgroupShuffleDown(whole, 1u);
  return scan_rows(select(vec2f(1.0, 0.0), right, at + 1u < ROW), whole, T - 1u - lane, channel, turn);
}
