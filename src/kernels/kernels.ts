/**
 * The list of kernels: what both devices implement, under these names and in this order of arguments.
 *
 * `views` are tensors (f32 unless marked `:i32`; a trailing `?` may be absent; `>` marks what the kernel writes, `+` what it
 * adds to, both what it does according to `accumulate`). `params` are numbers (i32 unless marked `:f32`).
 *
 * Layouts. Rows are contiguous. Activations outside the Mamba block are token-major, (L, d). Inside it they are
 * channel-major, (D, L), as in the spec and the original CUDA code: a channel's tokens lie side by side.
 * Packed bags: `offsets` (bags + 1) are the rows at which bags start; every bag is computed as if it were alone.
 * Gradients of parameters are added to; gradients of activations are overwritten unless `accumulate` is 1.
 * `segments` (n, 4): first token, count, flags, bag, in scan order; flags: 1 first of its bag, 2 last of its bag, 4 reversed
 * (the segment's tokens run downwards from `first`), 8 goes on in the next row, 16 goes on from the row before (pieces of a
 * segment longer than `device.scanPiece`). See `sequence.ts`.
 */
export const kernels = {
  /** x = value */
  fill: { views: ['>x'], params: ['n', 'value:f32'] },
  /** y = alpha a + beta b (b absent: alpha a). y may be a or b. */
  add: { views: ['a', 'b?', '>y'], params: ['n', 'alpha:f32', 'beta:f32'] },
  /** y (+)= a b */
  multiply: { views: ['a', 'b', '+y'], params: ['n', 'accumulate'] },
  /** y (c, r) = x (r, c) transposed */
  transpose: { views: ['x', '>y'], params: ['r', 'c'] },
  /** C (m, n) (+)= op(A) op(B), then + bias (n), then activation (index into `activations`, -1: none). A is (m, k), or (k, m) if transA; B is (k, n), or (n, k) if transB. */
  matmul: { views: ['A', 'B', 'bias?', '+C'], params: ['m', 'n', 'k', 'transA', 'transB', 'accumulate', 'activation'] },
  /** out (c) += sum over rows of x (r, c) */
  sumRows: { views: ['x', '+out'], params: ['r', 'c'] },
  /** y = f(x); kind indexes `activations` */
  activation: { views: ['x', '>y'], params: ['n', 'kind'] },
  /** dx (+)= dy f'(x); y = f(x) is given as well, kernels use whichever is cheaper */
  activationBackward: { views: ['x', 'y', 'dy', '+dx'], params: ['n', 'kind', 'accumulate'] },
  /** y = x mask / (1 - p); element i is dropped when a hash of i and the seed (lowbias32 of 0x9e3779b9 i + seed) is below p 2^32. Also its own backward. */
  dropout: { views: ['x', '+y'], params: ['n', 'p:f32', 'seed', 'accumulate'] },
  /** Rows of x (r, d): y = (x - mean) rstd weight + bias; stats (r, 2) = mean, rstd. Biased variance. */
  layerNorm: { views: ['x', 'weight', 'bias', '>y', '>stats?'], params: ['r', 'd', 'eps:f32'] },
  layerNormBackward: {
    views: ['x', 'weight', 'dy', 'stats', '+dx', '+dweight', '+dbias'],
    params: ['r', 'd', 'accumulate'],
  },
  /** sum = x + residual (absent: sum = x and is not written); y = sum rstd weight; rstd (r) = 1 / sqrt(mean sum^2 + eps) */
  rmsNorm: { views: ['x', 'residual?', 'weight', '>y', '>sum?', '>rstd?'], params: ['r', 'd', 'eps:f32'] },
  /** dsum (+)= gradient through the norm + dres (gradient that reached `sum` from elsewhere, absent: 0) */
  rmsNormBackward: {
    views: ['sum', 'weight', 'dy', 'dres?', 'rstd', '+dsum', '+dweight'],
    params: ['r', 'd', 'accumulate'],
  },
  /** Causal depthwise convolution along tokens, channel-major: y (D, L), weight (D, W); optional SiLU. `tail` (D, W-1): the tokens before the first, in scan order (streaming, one bag). reversed: runs from the end of each bag to its start. */
  conv1d: {
    views: ['x', 'weight', 'bias?', 'offsets:i32', 'tail?', '>y'],
    params: ['D', 'L', 'W', 'bags', 'silu', 'reversed'],
  },
  conv1dBackward: {
    views: ['x', 'weight', 'bias?', 'offsets:i32', 'dy', '+dx', '+dweight', '+dbias?'],
    params: ['D', 'L', 'W', 'bags', 'silu', 'reversed', 'accumulate'],
  },
  /** tailOut (D, W-1) = the last W-1 tokens, in scan order, of tailIn (absent: zeros) followed by x (D, L). tailOut is not tailIn. */
  convTail: { views: ['x', 'tailIn?', '>tailOut'], params: ['D', 'L', 'W', 'reversed'] },
  /**
   * Selective scan, lbmamba-scan.md §2-4. u, delta, z, y (D, L); A (D, N) < 0; B, C (N, L); skip, deltaBias (D).
   * local 1: with the right-to-left part inside each segment; 2: likewise, and some segments take several rows of the
   * table. stateIn, stateOut (bags, D, N): f before the first and after the last token of each bag.
   * carries (ceil(segments / device.scanChunk), D, N): f before each chunk, for the backward pass.
   */
  selectiveScan: {
    views: [
      'u',
      'delta',
      'A',
      'B',
      'C',
      'skip?',
      'z?',
      'deltaBias?',
      'segments:i32',
      'stateIn?',
      '>y',
      '>carries?',
      '>stateOut?',
    ],
    params: ['D', 'L', 'N', 'segmentCount', 'longestSegment', 'local', 'softplus'],
  },
  /** §5. du, ddelta, dz, dB, dC are overwritten; dA, dskip, ddeltaBias are added to. */
  selectiveScanBackward: {
    views: [
      'u',
      'delta',
      'A',
      'B',
      'C',
      'skip?',
      'z?',
      'deltaBias?',
      'segments:i32',
      'carries',
      'dy',
      '>du',
      '>ddelta',
      '+dA',
      '>dB',
      '>dC',
      '+dskip?',
      '>dz?',
      '+ddeltaBias?',
    ],
    params: ['D', 'L', 'N', 'segmentCount', 'longestSegment', 'local', 'softplus'],
  },
  /** attention (L) = softmax of scores (L) within each bag; pooled (bags, d) = attention-weighted mean of h (L, d) */
  attentionPool: { views: ['h', 'scores', 'offsets:i32', '>attention', '>pooled'], params: ['L', 'd', 'bags'] },
  attentionPoolBackward: {
    views: ['h', 'attention', 'offsets:i32', 'pooled', 'dpooled', '+dh', '+dscores'],
    params: ['L', 'd', 'bags', 'accumulateH', 'accumulateScores'],
  },
  /** Online softmax over a further piece of one bag: state (2 + d) = running maximum, sum of weights, weighted sum of h. Start with maximum -3.4e38 and zeros. */
  attentionPoolChunk: { views: ['h', 'scores', '+state'], params: ['L', 'd'] },
  /** y (bags, c) = mean (kind 0) or maximum (kind 1) over the rows of each bag; rows (bags, c) = where the maximum was */
  poolRows: { views: ['x', 'offsets:i32', '>y', '>rows:i32?'], params: ['L', 'c', 'bags', 'kind'] },
  poolRowsBackward: {
    views: ['dy', 'offsets:i32', 'rows:i32?', '+dx'],
    params: ['L', 'c', 'bags', 'kind', 'accumulate'],
  },
  /** Rows of x (r, c) */
  softmaxRows: { views: ['x', '>y'], params: ['r', 'c'] },
  softmaxRowsBackward: { views: ['y', 'dy', '+dx'], params: ['r', 'c', 'accumulate'] },
  /** y (n, c) (+)= x[index] rows of x (r, c); index -1 gives zeros */
  gatherRows: { views: ['x', 'index:i32', '+y'], params: ['n', 'c', 'accumulate'] },
  /** dx (r, c) += dy (n, c) at rows index; index may repeat; rows are added in order of n */
  scatterRows: { views: ['dy', 'index:i32', '+dx'], params: ['n', 'c'] },
  /** y (r, n) (+)= x[:, index] columns of x (r, L); index -1 gives zeros */
  gatherColumns: { views: ['x', 'index:i32', '+y'], params: ['r', 'L', 'n', 'accumulate'] },
  /** index (r) of the first maximum of each row of x (r, c) */
  argmaxRows: { views: ['x', '>index:i32'], params: ['r', 'c'] },
  /** index (k) of the k largest (largest 1) or smallest (0) of x (n), best first, ties by position */
  topK: { views: ['x', '>index:i32'], params: ['n', 'k', 'largest'] },
  /** y (C, H, W) = depthwise 2-D convolution of x with weight (C, kh, kw), zero padding kh/2, kw/2 */
  conv2d: { views: ['x', 'weight', 'bias?', '>y'], params: ['C', 'H', 'W', 'kh', 'kw'] },
  conv2dBackward: {
    views: ['x', 'weight', 'dy', '+dx', '+dweight', '+dbias?'],
    params: ['C', 'H', 'W', 'kh', 'kw', 'accumulate'],
  },
  /** loss (1) = sum_i w_i CE_i / sum_i w_i; dlogits (b, c) = scale x its gradient. w_i = weights[label_i] or 1. */
  crossEntropy: { views: ['logits', 'labels:i32', 'weights?', '>loss', '>dlogits'], params: ['b', 'c', 'scale:f32'] },
  /** Discrete-time survival, mambamil.md: hazards, survival (b, c), risk (b); loss = mean over bags; dlogits = scale x its gradient */
  survivalLoss: {
    views: ['logits', 'bins:i32', 'censored:i32', '>loss', '>dlogits', '>hazards', '>survival', '>risk'],
    params: ['b', 'c', 'alpha:f32', 'scale:f32'],
  },
  /** out (1) += sum of g^2 */
  squaredNorm: { views: ['g', '+out'], params: ['n'] },
  /**
   * One step of AdamW (decoupled 1) or Adam with L2 (0) on w, moments m and v; correction1 = 1 - beta1^step, correction2 likewise.
   * g is first multiplied by min(1, maxNorm / (sqrt(squaredNorm) + 1e-6)) if squaredNorm (1) is given.
   */
  adam: {
    views: ['+w', 'g', '+m', '+v', 'squaredNorm?'],
    params: [
      'n',
      'lr:f32',
      'beta1:f32',
      'beta2:f32',
      'eps:f32',
      'decay:f32',
      'correction1:f32',
      'correction2:f32',
      'decoupled',
      'maxNorm:f32',
    ],
  },
  /** w -= lr (g + decay w); of `Sgd`, which only golden cases ask for */
  sgd: { views: ['+w', 'g'], params: ['n', 'lr:f32', 'decay:f32'] },
} as const satisfies Record<string, { views: readonly string[]; params: readonly string[] }>;

export type KernelName = keyof typeof kernels;

/** Element-wise functions, by index. gelu is the exact one (erf); negExp is -exp(x), which turns A_log into A. */
export const activations = ['gelu', 'relu', 'tanh', 'sigmoid', 'silu', 'softplus', 'negExp'] as const;
export type Activation = (typeof activations)[number];
/** Those whose derivative can be told from the result, so that nobody has to keep what went in. */
export const slopeFromResult: ReadonlySet<Activation> = new Set(['relu', 'tanh', 'sigmoid', 'negExp']);
