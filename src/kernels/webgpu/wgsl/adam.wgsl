// One step of AdamW (decoupled decay) or Adam with L2:
//   g = clip g (+ decay w);  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w = w (1 - lr decay) - lr (m / correction1) / (sqrt(v / correction2) + eps)
// rest1 = 1 - beta1 and rest2 = 1 - beta2, exact before rounding; clip = min(1, maxNorm / (sqrt(squaredNorm) + 1e-6)).
// Element by element as in fill.wgsl.
struct Args { n: u32, lr: f32, beta1: f32, beta2: f32, rest1: f32, rest2: f32, eps: f32, decay: f32, correction1: f32, correction2: f32, decoupled: u32, maxNorm: f32, w_at: u32, g_at: u32, m_at: u32, v_at: u32, squaredNorm_at: u32 }
@group(0) @binding(0) var<uniform> args: Args;
@group(0) @binding(1) var<storage, read_write> w: array<f32>;
@group(0) @binding(2) var<storage, read> g: array<f32>;
@group(0) @binding(3) var<storage, read_write> m: array<f32>;
@group(0) @binding(4) var<storage, read_write> v: array<f32>;
@group(0) @binding(5) var<storage, read> squaredNorm: array<f32>;
const has_squaredNorm: bool = true;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var clip = 1.0;
  if (has_squaredNorm) {
    clip = min(1.0, args.maxNorm / (sqrt(squaredNorm[args.squaredNorm_at]) + 1e-6));
  }
  for (var i = id.x; i < args.n; i += groups.x * 256u) {
    var weight = w[args.w_at + i];
    var gradient = g[args.g_at + i] * clip;
    if (args.decoupled != 0u) {
      weight -= args.lr * args.decay * weight;
    } else {
      gradient += args.decay * weight;
    }
    let mean = args.beta1 * m[args.m_at + i] + args.rest1 * gradient;
    let square = args.beta2 * v[args.v_at + i] + args.rest2 * gradient * gradient;
    m[args.m_at + i] = mean;
    v[args.v_at + i] = square;
    w[args.w_at + i] = weight - args.lr * (mean / args.correction1) / (sqrt(square / args.correction2) + args.eps);
  }
}
