// Selective scan, forward-only or locally bi-directional (LOCAL):
//   Delta_t = softplus(delta_t + bias_d), a_t = exp(Delta_t A_dn), b_t = Delta_t B_nt u_t
//   f_t = a_t f_{t-1} + b_t over the bag;  r_t = a_t (r_{t+1} + b_{t+1}) inside a segment
//   y_t = (sum_n C_nt (f_t + r_t) + skip_d u_t) silu(z_t)
// u, delta, z, y (D, L); carries (chunks, D, N); stateOut (bags, D, N); bc and small: scanPackTokens, scanPackChannels.
//
// A workgroup computes G channels, S T threads each, over all tokens: a chunk of T segments at a time. A thread owns one
// segment of up to K tokens, and every S-th of its states. It holds their Delta, Delta u and sum over n in registers, and for
// each state n their a and b; the right-to-left part r is a loop over these registers. The T threads of a channel and state
// then scan the pairs of their segments, and each walks f through its own. A bag's first segment has the pair (0, end),
// which cuts the carry.
//
// PIECES: a segment longer than K lies in several threads, and what r hands from piece to piece is a second group scan, from
// right to left; what comes from the chunk to the right stands in `small` (chunks, D, N), put there by scanAcross.wgsl.
//
// Rows are read and written through `tile`, so that neighbours in memory are neighbours in a subgroup; segments lie
// K + 1 apart there against bank conflicts. Barriers in a chunk: the tile is free, the segment table is there, the tile
// is filled, (S > 1: is read,) the results are there; and those of the group scan for each n. `carry` has two halves taken in
// turn. S <= 2: each of a segment's threads leaves its sum in a part of the tile of its own.
//! import numbers
struct Args { L: u32, D: u32, segmentCount: u32, channel0: u32, channels: u32, u_at: u32, delta_at: u32, z_at: u32, bc_at: u32, small_at: u32, across: u32, y_at: u32, carries_at: u32, stateOut_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read> u: array<f32>;
@group(0) @binding(2) var<storage, read> delta: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<f32>;
@group(0) @binding(4) var<storage, read> bc: array<vec4f>;
@group(0) @binding(5) var<storage, read> small: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> carries: array<f32>;
@group(0) @binding(8) var<storage, read_write> stateOut: array<f32>;
const has_z: bool = true;
const has_carries: bool = true;
const has_stateOut: bool = true;
const STATE_IN: bool = false;
const LOCAL: bool = true;
const PIECES: bool = false;
const SOFTPLUS: bool = true;
const N: u32 = 16;
const K: u32 = 16;
const T: u32 = 32;
const G: u32 = 4;
const S: u32 = 1;
const SCANS: u32 = G * S;
const Q: u32 = K / 4;
const PART: u32 = G * T * (K + 1);
var<workgroup> tile: array<f32, 2 * PART>;
var<workgroup> table: array<vec4i, T>;
var<workgroup> carry: array<f32, 2 * G * N>;
//! import groupScan

@compute @workgroup_size(T * G * S)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32) {
  let lane = index % T;
  let g = index / T % G;
  let s = index / (T * G);
  // The last workgroup may have threads without a channel: they compute along and write nothing.
  let lives = group.x * G + g < args.channels;
  let row = min(group.x * G + g, args.channels - 1u);
  let channel = args.channel0 + row;
  let rates = args.small_at + channel * N;
  let skip = small[args.small_at + args.D * N + channel];
  let bias = small[args.small_at + args.D * (N + 1u) + channel];
  let segments = args.small_at + args.D * (N + 2u);
  let states = segments + args.segmentCount * 4u;
  for (var i = index; i < 2u * G * N; i += T * G * S) {
    carry[i] = 0.0;
  }

  let chunks = (args.segmentCount + T - 1u) / T;
  for (var chunk = 0u; chunk < chunks; chunk++) {
    workgroupBarrier();
    for (var i = index; i < T; i += T * G * S) {
      var entry = vec4i();
      if (chunk * T + i < args.segmentCount) {
        let at = segments + (chunk * T + i) * 4u;
        entry = vec4i(vec4f(small[at], small[at + 1u], small[at + 2u], small[at + 3u]));
      }
      table[i] = entry;
    }
    workgroupBarrier();
    for (var i = s * T + lane; i < T * K; i += T * S) {
      let entry = table[i / K];
      let k = i32(i % K);
      // A token that is not there keeps the state: Delta = 0 makes a = 1 and b = 0.
      var step = 0.0;
      var input = 0.0;
      if (k < entry.y) {
        let token = row * args.L + u32(select(entry.x + k, entry.x - k, (entry.z & 4) != 0));
        step = delta[args.delta_at + token] + bias;
        if (SOFTPLUS) {
          step = softplus(step);
        }
        input = u[args.u_at + token];
      }
      let at = g * T * (K + 1u) + i / K * (K + 1u) + i % K;
      tile[at] = step;
      tile[PART + at] = input;
    }
    workgroupBarrier();

    let own = (g * T + lane) * (K + 1u);
    var step: array<vec4f, Q>;
    var x: array<vec4f, Q>;
    var sum: array<vec4f, Q>;
    for (var q = 0u; q < Q; q++) {
      let at = own + q * 4u;
      step[q] = vec4f(tile[at], tile[at + 1u], tile[at + 2u], tile[at + 3u]);
      let input = vec4f(tile[PART + at], tile[PART + at + 1u], tile[PART + at + 2u], tile[PART + at + 3u]);
      x[q] = step[q] * input;
      sum[q] = select(0.0, skip, s == 0u) * input;
    }
    let entry = table[lane];
    let first = (entry.z & 1) != 0;
    let last = (entry.z & 2) != 0;
    let goes_on = (entry.z & 8) != 0;

    for (var turn = 0u; turn < N / S; turn++) {
      let n = turn * S + s;
      let rate = small[rates + n];
      let tokens = args.bc_at + (chunk * N + n) * Q * 2u * T + lane;
      var a: array<vec4f, Q>;
      var b: array<vec4f, Q>;
      var r: array<vec4f, Q>;
      var pair = vec2f(1.0, 0.0);
      for (var q = 0u; q < Q; q++) {
        let v = exp2(step[q] * rate);
        let w = x[q] * bc[tokens + q * 2u * T];
        a[q] = v;
        b[q] = w;
        pair.y = v.x * pair.y + w.x;
        pair.y = v.y * pair.y + w.y;
        pair.y = v.z * pair.y + w.z;
        pair.y = v.w * pair.y + w.w;
        pair.x *= v.x * v.y * v.z * v.w;
      }
      if (LOCAL) {
        var from_right = 0.0;
        if (PIECES) {
          var end = 0.0;
          for (var i = 0u; i < Q; i++) {
            let q = Q - 1u - i;
            end = a[q].w * end + b[q].w;
            end = a[q].z * end + b[q].z;
            end = a[q].y * end + b[q].y;
            end = a[q].x * end + b[q].x;
          }
          let right = scan_down(vec2f(select(0.0, pair.x, goes_on), end), lane, s * G + g, 2u * turn);
          let arriving = small[args.small_at + args.across + (chunk * args.D + channel) * N + n];
          from_right = select(0.0, right.x * arriving + right.y, goes_on);
        }
        for (var i = 0u; i < Q; i++) {
          let q = Q - 1u - i;
          var v: vec4f;
          v.w = a[q].w * from_right;
          v.z = a[q].z * (v.w + b[q].w);
          v.y = a[q].y * (v.z + b[q].z);
          v.x = a[q].x * (v.y + b[q].y);
          from_right = v.x + b[q].x;
          r[q] = v;
        }
      }
      var begin = 0.0;
      if (STATE_IN && first) {
        begin = small[states + (u32(entry.w) * args.D + channel) * N + n];
      }
      if (first) {
        pair = vec2f(0.0, pair.x * begin + pair.y);
      }
      let left = scan_up(pair, lane, s * G + g, select(turn, 2u * turn + 1u, PIECES));
      let arriving = carry[((chunk & 1u) * G + g) * N + n];
      var f = select(left.x * arriving + left.y, begin, first);
      if (has_carries && lane == 0u && lives) {
        carries[args.carries_at + (chunk * args.D + channel) * N + n] = arriving;
      }
      for (var q = 0u; q < Q; q++) {
        var h: vec4f;
        h.x = a[q].x * f + b[q].x;
        h.y = a[q].y * h.x + b[q].y;
        h.z = a[q].z * h.y + b[q].z;
        h.w = a[q].w * h.z + b[q].w;
        f = h.w;
        if (LOCAL) {
          h += r[q];
        }
        sum[q] += bc[tokens + q * 2u * T + T] * h;
      }
      if (lane == T - 1u) {
        carry[((1u - (chunk & 1u)) * G + g) * N + n] = f;
      }
      if (has_stateOut && last && lives) {
        stateOut[args.stateOut_at + (u32(entry.w) * args.D + channel) * N + n] = f;
      }
    }

    // With S = 1 a thread overwrites only what it alone has read.
    if (S > 1u) {
      workgroupBarrier();
    }
    for (var q = 0u; q < Q; q++) {
      for (var j = 0u; j < 4u; j++) {
        tile[s * PART + own + q * 4u + j] = sum[q][j];
      }
    }
    workgroupBarrier();
    for (var i = s * T + lane; i < T * K; i += T * S) {
      let entry = table[i / K];
      let k = i32(i % K);
      if (k < entry.y && lives) {
        let token = row * args.L + u32(select(entry.x + k, entry.x - k, (entry.z & 4) != 0));
        let at = (g * T + i / K) * (K + 1u) + i % K;
        var value = tile[at];
        if (S > 1u) {
          value += tile[PART + at];
        }
        if (has_z) {
          value *= silu(z[args.z_at + token]);
        }
        y[args.y_at + token] = value;
      }
    }
  }
}
