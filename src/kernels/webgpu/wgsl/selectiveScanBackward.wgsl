// Gradients of selectiveScan (lbmamba-scan.md §5), for the chunks [chunk0, chunk1), from right to left:
//   g_t = dy_t silu(z_t), G_t = g_t C_nt;  lam_t = G_t + e_{t+1}, e_t = a_t lam_t over the bag from right to left
//   rho_t = a_{t-1} mu_{t-1}, mu_t = G_t + rho_t from left to right inside a segment (LOCAL; else 0)
//   db_t = lam_t + rho_t;  alpha_t = lam_t a_t f_{t-1} + mu_t r_t;  h_t = f_t + r_t
//   du = skip g + Delta sum_n db B;  ddelta = softplus' (sum_n alpha A + u sum_n db B)
//   dz = dy silu'(z) (sum_n C h + skip u);  dB_n = sum_d db Delta u;  dC_n = sum_d g h;  dA = sum_t alpha Delta
//
// Work is shared out as in selectiveScan.wgsl. A thread holds Delta, Delta u, g and three sums over n of its segment in
// registers; for each n it makes a again, f from the carry that forward saved, and r; the threads of a channel scan
// the pairs of f upwards and those of e downwards (both have the same product of a).
// Sums over channels (dB, dC): the workgroup's channels meet in `tile` for each n and their sum goes to `part`
// (workgroups, chunks, N, 2, T K); scanSumTokens.wgsl adds the workgroups. Sums over tokens: each thread keeps its own in
// `sums` - dA (D, N, T), dskip (D, T), ddeltaBias (D, T) -, which scanSumChannels.wgsl adds; after them there e (D, N), for
// the next range of chunks to the left. All sums are in a fixed order.
//
// PIECES: r and rho of a segment that lies in several threads are group scans as well, and what comes from the chunks to the
// right (r) and to the left (rho) stands in `small` (2, chunks, D, N), put there by scanAcross.wgsl.
//
// Barriers in a chunk: the tile is free, the table is there, the tile is filled; for each n those of the two group scans,
// the contributions are there, and the tile is free for the next n; the results are there.
//! import numbers
struct Args { L: u32, D: u32, segmentCount: u32, channel0: u32, channels: u32, chunk0: u32, chunk1: u32, fresh: u32, u_at: u32, delta_at: u32, z_at: u32, dy_at: u32, bc_at: u32, small_at: u32, across: u32, du_at: u32, ddelta_at: u32, dz_at: u32, part_at: u32, sums_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read> bc: array<vec4f>;
@group(0) @binding(6) var<storage, read> small: array<f32>;
@group(0) @binding(7) var<storage, read_write> du: array<f32>;
@group(0) @binding(8) var<storage, read_write> ddelta: array<f32>;
@group(0) @binding(9) var<storage, read_write> dz: array<f32>;
@group(0) @binding(10) var<storage, read_write> part: array<f32>;
@group(0) @binding(11) var<storage, read_write> sums: array<f32>;
const has_z: bool = true;
const has_dz: bool = true;
const LOCAL: bool = true;
const PIECES: bool = false;
const SOFTPLUS: bool = true;
const N: u32 = 16;
const K: u32 = 16;
const T: u32 = 32;
const G: u32 = 4;
const SCANS: u32 = G;
const Q: u32 = K / 4;
const PART: u32 = G * T * (K + 1);
var<workgroup> tile: array<f32, 3 * PART>;
var<workgroup> table: array<vec4i, T>;
var<workgroup> carry: array<f32, 2 * G * N>;
//! import groupScan

// Place in (channels, L) of token k of a segment.
fn place(row: u32, entry: vec4i, k: i32) -> u32 {
  return row * args.L + u32(select(entry.x + k, entry.x - k, (entry.z & 4) != 0));
}

fn gated(d: f32, at: u32) -> f32 {
  if (has_z) {
    return d * silu(z[args.z_at + at]);
  }
  return d;
}

@compute @workgroup_size(T * G)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = index % T;
  let g = index / T;
  // The last workgroup may have threads without a channel: they compute along and contribute nothing.
  let lives = group.x * G + g < args.channels;
  let row = min(group.x * G + g, args.channels - 1u);
  let channel = args.channel0 + row;
  let rates = args.small_at + channel * N;
  let skip = small[args.small_at + args.D * N + channel];
  let bias = small[args.small_at + args.D * (N + 1u) + channel];
  let segments = args.small_at + args.D * (N + 2u);
  let carries = segments + args.segmentCount * 4u;
  let of_a = args.sums_at + channel * N * T + lane;
  let of_skip = args.sums_at + (args.D * N + channel) * T + lane;
  let of_bias = args.sums_at + (args.D * (N + 1u) + channel) * T + lane;
  let of_e = args.sums_at + args.D * (N + 2u) * T + channel * N;
  let own = (g * T + lane) * (K + 1u);
  var dskip = 0.0;
  var dbias = 0.0;
  if (args.fresh == 0u) {
    dskip = sums[of_skip];
    dbias = sums[of_bias];
  }
  for (var n = lane; n < N; n += T) {
    var e = 0.0;
    if (args.fresh == 0u) {
      e = sums[of_e + n];
    }
    carry[((args.chunk1 & 1u) * G + g) * N + n] = e;
  }

  for (var done = args.chunk0; done < args.chunk1; done++) {
    let chunk = args.chunk1 - 1u - (done - args.chunk0);
    workgroupBarrier();
    for (var i = index; i < T; i += T * G) {
      var entry = vec4i();
      if (chunk * T + i < args.segmentCount) {
        let at = segments + (chunk * T + i) * 4u;
        entry = vec4i(vec4f(small[at], small[at + 1u], small[at + 2u], small[at + 3u]));
      }
      table[i] = entry;
    }
    workgroupBarrier();
    for (var i = lane; i < T * K; i += T) {
      let entry = table[i / K];
      let k = i32(i % K);
      // A token that is not there keeps f and e: Delta = 0 makes a = 1, b = 0; g = 0 makes G = 0.
      var step = 0.0;
      var input = 0.0;
      var upstream = 0.0;
      if (k < entry.y && lives) {
        let at = place(row, entry, k);
        step = delta[args.delta_at + at] + bias;
        if (SOFTPLUS) {
          step = softplus(step);
        }
        input = u[args.u_at + at];
        upstream = gated(dy[args.dy_at + at], at);
      }
      let to = (g * T + i / K) * (K + 1u) + i % K;
      tile[to] = step;
      tile[PART + to] = input;
      tile[2u * PART + to] = upstream;
    }
    workgroupBarrier();

    var step: array<vec4f, Q>;
    var x: array<vec4f, Q>;
    var upstream: array<vec4f, Q>;
    var sum_b: array<vec4f, Q>;
    var sum_a: array<vec4f, Q>;
    var sum_h: array<vec4f, Q>;
    for (var q = 0u; q < Q; q++) {
      let at = own + q * 4u;
      step[q] = vec4f(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
      x[q] = step[q] * vec4f(tile[PART + at], tile[PART + at + 1u], tile[PART + at + 2u], tile[PART + at + 3u]);
      // Said outright: not every compiler clears a variable again when its declaration comes round in a loop.
      sum_b[q] = vec4f();
      sum_a[q] = vec4f();
      sum_h[q] = vec4f();
      upstream[q] = vec4f(tile[2u * PART + at], tile[2u * PART + at + 1u], tile[2u * PART + at + 2u], tile[2u * PART + at + 3u]);
    }
    let first = (table[lane].z & 1) != 0;
    let last = (table[lane].z & 2) != 0;
    let goes_on = (table[lane].z & 8) != 0;
    let continues = (table[lane].z & 16) != 0;
    workgroupBarrier();

    for (var n = 0u; n < N; n++) {
      let rate = small[rates + n];
      let tokens = args.bc_at + (chunk * N + n) * Q * 2u * T + lane;
      var a: array<vec4f, Q>;
      var product = 1.0;
      var end = 0.0;
      for (var q = 0u; q < Q; q++) {
        let v = exp2(step[q] * rate);
        let b = x[q] * bc[tokens + q * 2u * T];
        a[q] = v;
        end = v.x * end + b.x;
        end = v.y * end + b.y;
        end = v.z * end + b.z;
        end = v.w * end + b.w;
        product *= v.x * v.y * v.z * v.w;
      }
      var begin = 0.0;
      for (var i = 0u; i < Q; i++) {
        let q = Q - 1u - i;
        let G_t = upstream[q] * bc[tokens + q * 2u * T + T];
        begin = a[q].w * (G_t.w + begin);
        begin = a[q].z * (G_t.z + begin);
        begin = a[q].y * (G_t.y + begin);
        begin = a[q].x * (G_t.x + begin);
      }
      let left = scan_up(vec2f(select(product, 0.0, first), end), lane, g, 2u * n);
      let right = scan_down(vec2f(select(product, 0.0, last), begin), lane, g, 2u * n + 1u);
      let f_arriving = small[carries + (chunk * args.D + channel) * N + n];
      let e_arriving = carry[(((chunk + 1u) & 1u) * G + g) * N + n];
      var f = select(left.x * f_arriving + left.y, 0.0, first);
      var e = select(right.x * e_arriving + right.y, 0.0, last);

      var from_right = 0.0;
      var rho_next = 0.0;
      if (PIECES) {
        var r_end = 0.0;
        var rho_end = 0.0;
        for (var i = 0u; i < Q; i++) {
          let q = Q - 1u - i;
          let b = x[q] * bc[tokens + q * 2u * T];
          r_end = a[q].w * r_end + b.w;
          r_end = a[q].z * r_end + b.z;
          r_end = a[q].y * r_end + b.y;
          r_end = a[q].x * r_end + b.x;
          let G_t = upstream[i] * bc[tokens + i * 2u * T + T];
          rho_end = a[i].x * (G_t.x + rho_end);
          rho_end = a[i].y * (G_t.y + rho_end);
          rho_end = a[i].z * (G_t.z + rho_end);
          rho_end = a[i].w * (G_t.w + rho_end);
        }
        let of_r = scan_down(vec2f(select(0.0, product, goes_on), r_end), lane, g, 2u * n);
        let of_rho = scan_up(vec2f(select(0.0, product, continues), rho_end), lane, g, 2u * n + 1u);
        let across = args.small_at + args.across + (chunk * args.D + channel) * N + n;
        let chunks = (args.segmentCount + T - 1u) / T;
        from_right = select(0.0, of_r.x * small[across] + of_r.y, goes_on);
        rho_next = select(0.0, of_rho.x * small[across + chunks * args.D * N] + of_rho.y, continues);
      }

      var lam: array<vec4f, Q>;
      var r: array<vec4f, Q>;
      for (var i = 0u; i < Q; i++) {
        let q = Q - 1u - i;
        let G_t = upstream[q] * bc[tokens + q * 2u * T + T];
        var l: vec4f;
        l.w = G_t.w + e;
        l.z = G_t.z + a[q].w * l.w;
        l.y = G_t.y + a[q].z * l.z;
        l.x = G_t.x + a[q].y * l.y;
        e = a[q].x * l.x;
        lam[q] = l;
        if (LOCAL) {
          let b = x[q] * bc[tokens + q * 2u * T];
          var v: vec4f;
          v.w = a[q].w * from_right;
          v.z = a[q].z * (v.w + b.w);
          v.y = a[q].y * (v.z + b.z);
          v.x = a[q].x * (v.y + b.y);
          from_right = v.x + b.x;
          r[q] = v;
        }
      }
      if (lane == 0u) {
        carry[((chunk & 1u) * G + g) * N + n] = e;
      }

      var da = 0.0;
      for (var q = 0u; q < Q; q++) {
        let B_t = bc[tokens + q * 2u * T];
        let C_t = bc[tokens + q * 2u * T + T];
        let v = a[q];
        let b = x[q] * B_t;
        var af: vec4f;
        af.x = v.x * f;
        af.y = v.y * (af.x + b.x);
        af.z = v.z * (af.y + b.y);
        af.w = v.w * (af.z + b.z);
        var h = af + b;
        f = h.w;
        var db = lam[q];
        var alpha = lam[q] * af;
        if (LOCAL) {
          let G_t = upstream[q] * C_t;
          var rho: vec4f;
          rho.x = rho_next;
          rho.y = v.x * (G_t.x + rho.x);
          rho.z = v.y * (G_t.y + rho.y);
          rho.w = v.z * (G_t.z + rho.z);
          rho_next = v.w * (G_t.w + rho.w);
          db += rho;
          alpha += (G_t + rho) * r[q];
          h += r[q];
        }
        sum_b[q] += db * B_t;
        sum_a[q] += alpha * rate;
        sum_h[q] += C_t * h;
        da += dot(alpha, step[q]);
        let to_b = db * x[q];
        let to_c = upstream[q] * h;
        for (var j = 0u; j < 4u; j++) {
          tile[own + q * 4u + j] = to_b[j];
          tile[PART + own + q * 4u + j] = to_c[j];
        }
      }
      if (lives) {
        if (args.fresh == 0u || done > args.chunk0) {
          da += sums[of_a + n * T];
        }
        sums[of_a + n * T] = da;
      }
      workgroupBarrier();
      let to = args.part_at + ((group.x * (args.chunk1 - args.chunk0) + chunk - args.chunk0) * N + n) * 2u * T * K;
      for (var i = index; i < 2u * T * K; i += T * G) {
        let from_tile = i / (T * K) * PART + i % (T * K) / K * (K + 1u) + i % K;
        var total = 0.0;
        for (var c = 0u; c < G; c++) {
          total += tile[from_tile + c * T * (K + 1u)];
        }
        part[to + i] = total;
      }
      workgroupBarrier();
    }

    for (var q = 0u; q < Q; q++) {
      for (var j = 0u; j < 4u; j++) {
        tile[own + q * 4u + j] = sum_b[q][j];
        tile[PART + own + q * 4u + j] = sum_a[q][j];
        tile[2u * PART + own + q * 4u + j] = sum_h[q][j];
      }
    }
    workgroupBarrier();
    for (var i = lane; i < T * K; i += T) {
      let entry = table[i / K];
      let k = i32(i % K);
      if (k < entry.y && lives) {
        let at = place(row, entry, k);
        let from_tile = (g * T + i / K) * (K + 1u) + i % K;
        let raw = delta[args.delta_at + at] + bias;
        let input = u[args.u_at + at];
        let d = dy[args.dy_at + at];
        let upstream_here = gated(d, at);
        var delta_here = raw;
        var slope = 1.0;
        if (SOFTPLUS) {
          delta_here = softplus(raw);
          slope = softplus_slope(raw);
        }
        let to_delta = (0.6931471805599453 * tile[PART + from_tile] + input * tile[from_tile]) * slope;
        du[args.du_at + at] = skip * upstream_here + delta_here * tile[from_tile];
        ddelta[args.ddelta_at + at] = to_delta;
        if (has_dz) {
          dz[args.dz_at + at] = d * silu_slope(z[args.z_at + at]) * (tile[2u * PART + from_tile] + skip * input);
        }
        dskip += upstream_here * input;
        dbias += to_delta;
      }
    }
  }

  // The last chunk's barriers lie behind what carry holds.
  if (lives) {
    sums[of_skip] = dskip;
    sums[of_bias] = dbias;
    for (var n = lane; n < N; n += T) {
      sums[of_e + n] = carry[((args.chunk0 & 1u) * G + g) * N + n];
    }
  }
}
