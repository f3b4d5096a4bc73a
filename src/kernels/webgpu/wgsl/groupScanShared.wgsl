// Exclusive scan of pairs over the T lanes of each of SCANS channels (or channel and state), without subgroups.
// (a, b) stands for f -> a f + b; pairs compose from left to right. Lanes work in rows of ROW <= 8: everyone folds what
// lies before it in its row, then the totals of the rows before. Two barriers: pairs written, totals written. Two buffers
// taken in turn (`turn`) make a third one unnecessary.
const ROW: u32 = min(T, 8);
var<workgroup> scan_pairs: array<vec2f, 2 * SCANS * T>;
var<workgroup> scan_totals: array<vec2f, 2 * SCANS * (T / ROW)>;

fn compose(first: vec2f, second: vec2f) -> vec2f {
  return vec2f(first.x * second.x, second.x * first.y + second.y);
}

// `rank` counts lanes in the direction of the scan.
fn scan_ranks(pair: vec2f, rank: u32, channel: u32, turn: u32) -> vec2f {
  let base = ((turn & 1u) * SCANS + channel) * T;
  scan_pairs[base + rank] = pair;
  workgroupBarrier();
  let row = rank / ROW;
  var before = vec2f(1.0, 0.0);
  for (var i = row * ROW; i < rank; i++) {
    before = compose(before, scan_pairs[base + i]);
  }
  if (rank % ROW == ROW - 1u) {
    scan_totals[base / ROW + row] = compose(before, pair);
  }
  workgroupBarrier();
  var rows = vec2f(1.0, 0.0);
  for (var i = 0u; i < row; i++) {
    rows = compose(rows, scan_totals[base / ROW + i]);
  }
  return compose(rows, before);
}

fn scan_up(pair: vec2f, lane: u32, channel: u32, turn: u32) -> vec2f {
  return scan_ranks(pair, lane, channel, turn);
}

fn scan_down(pair: vec2f, lane: u32, channel: u32, turn: u32) -> vec2f {
  return scan_ranks(pair, T - 1u - lane, channel, turn);
}
