// Functions of one f32, without overflow for |x| up to 110 and accurate where the built-in ones are not bound to be.

const LOG2_E: f32 = 1.4426950408889634;

fn sigmoid(x: f32) -> f32 {
  let e = exp(-abs(x));
  return select(e, 1.0, x >= 0.0) / (1.0 + e);
}

fn silu(x: f32) -> f32 {
  return x * sigmoid(x);
}

// Derivative of silu.
fn silu_slope(x: f32) -> f32 {
  let s = sigmoid(x);
  return s * (1.0 + x * (1.0 - s));
}

// log(1 + e) for e in [0, 1]: 2 atanh(s), s = e / (2 + e) <= 1/3. The built-in log may be off by 2^-21 near 1.
fn log1p_unit(e: f32) -> f32 {
  let s = e / (2.0 + e);
  let q = s * s;
  let p = 1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0 + q * (1.0 / 11.0 + q / 13.0)))));
  return 2.0 * s * p;
}

// x if x > 20 else log(1 + exp(x)).
fn softplus(x: f32) -> f32 {
  if (x > 20.0) {
    return x;
  }
  return max(x, 0.0) + log1p_unit(exp(-abs(x)));
}

fn softplus_slope(x: f32) -> f32 {
  return select(sigmoid(x), 1.0, x > 20.0);
}

fn tanh_exact(x: f32) -> f32 {
  let q = x * x;
  if (q < 0.0625) {
    return x * (1.0 + q * (-1.0 / 3.0 + q * (2.0 / 15.0 + q * (-17.0 / 315.0 + q * (62.0 / 2835.0)))));
  }
  let e = exp(-2.0 * abs(x));
  return sign(x) * (1.0 - e) / (1.0 + e);
}

// 1 - erf(x). Minimax-like fits: erf(x) / x in x^2 on [0, 1], log erfc(t) on [1, 4]; erfc(4) = 1.5e-8 is taken as 0.
fn erfc(x: f32) -> f32 {
  let t = abs(x);
  if (t < 1.0) {
    let q = x * x;
    let p = 1.12837917 + q * (-0.376126269 + q * (0.112835975 + q * (-0.0268543288 + q * (0.00518931194
      + q * (-0.000801885499 + q * 7.88249711e-05)))));
    return 1.0 - x * p;
  }
  let p = 0.000303213003 + t * (-1.13016668 + t * (-0.631937093 + t * (-0.109978245 + t * (0.0263647175
    + t * (-0.00474022237 + t * (0.000592769544 + t * (-4.55906231e-05 + t * 1.61406163e-06)))))));
  let tail = select(exp(p), 0.0, t > 4.0);
  return select(tail, 2.0 - tail, x < 0.0);
}

fn gelu(x: f32) -> f32 {
  return 0.5 * x * erfc(-0.7071067811865476 * x);
}

fn gelu_slope(x: f32) -> f32 {
  return 0.5 * erfc(-0.7071067811865476 * x) + x * 0.3989422804014327 * exp(-0.5 * x * x);
}

// kind: index into `activations` of kernels.ts; -1 is the identity.
fn activate(x: f32, kind: i32) -> f32 {
  switch (kind) {
    case 0: { return gelu(x); }
    case 1: { return max(x, 0.0); }
    case 2: { return tanh_exact(x); }
    case 3: { return sigmoid(x); }
    case 4: { return silu(x); }
    case 5: { return softplus(x); }
    case 6: { return -exp(x); }
    default: { return x; }
  }
}

// f'(x), given x and y = f(x).
fn activation_slope(x: f32, y: f32, kind: i32) -> f32 {
  switch (kind) {
    case 0: { return gelu_slope(x); }
    case 1: { return select(0.0, 1.0, x > 0.0); }
    case 2: { return 1.0 - y * y; }
    case 3: { return y * (1.0 - y); }
    case 4: { return silu_slope(x); }
    case 5: { return softplus_slope(x); }
    case 6: { return y; }
    default: { return 1.0; }
  }
}
