// For each row of dx: how many of index (n) name it, and n - the first that does (0: none). seen (r, 2), zero before.
// Counts and maxima of whole numbers come out the same in any order. A thread per element of index. No barriers.
struct Args { n: u32, index_at: u32, seen_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> seen: array<atomic<u32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    let row = index[args.index_at + i];
    if (row >= 0) {
      atomicAdd(&seen[args.seen_at + u32(row) * 2u], 1u);
      atomicMax(&seen[args.seen_at + u32(row) * 2u + 1u], args.n - i);
    }
  }
}
