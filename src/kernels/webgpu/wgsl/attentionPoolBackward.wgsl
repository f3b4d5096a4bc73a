// For the rows of h and dh, which begin at row0: dh_t (+)= attention_t dpooled;  centred_t = (h_t - pooled) . dpooled, of t's bag; attentionScoresBackward.wgsl goes on.
// A workgroup of 64 computes one row. Barriers: those of the tree.
struct Args { rows: u32, row0: u32, d: u32, bags: u32, accumulateH: u32, h_at: u32, attention_at: u32, offsets_at: u32, pooled_at: u32, dpooled_at: u32, dh_at: u32, centred_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> h: array<f32>;
@group(0) @binding(2) var<storage, read> attention: array<f32>;
@group(0) @binding(3) var<storage, read> offsets: array<i32>;
@group(0) @binding(4) var<storage, read> pooled: array<f32>;
@group(0) @binding(5) var<storage, read> dpooled: array<f32>;
@group(0) @binding(6) var<storage, read_write> dh: array<f32>;
@group(0) @binding(7) var<storage, read_write> centred: array<f32>;
//! import bags
//! import treeSum

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= args.rows) {
    return;
  }
  let token = args.row0 + row;
  let bag = bag_number(token) * args.d;
  let weight = attention[args.attention_at + token];
  var sum = 0.0;
  for (var i = lane; i < args.d; i += 64u) {
    let upstream = dpooled[args.dpooled_at + bag + i];
    let at = row * args.d + i;
    sum += (h[args.h_at + at] - pooled[args.pooled_at + bag + i]) * upstream;
    var value = weight * upstream;
    if (args.accumulateH != 0u) {
      value += dh[args.dh_at + at];
    }
    dh[args.dh_at + at] = value;
  }
  let total = tree_sum(sum, lane);
  if (lane == 0u) {
    centred[args.centred_at + token] = total;
  }
}
