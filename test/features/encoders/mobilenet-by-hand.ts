/** MobileNet v1 out of the tfjs layers format, layer after layer in plain loops: what its ONNX file must give. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Picture {
  readonly side: number;
  readonly channels: number;
  /** Row by row, channels innermost. */
  readonly data: Float64Array;
}

/** The means of the twelfth block, 1024 numbers. @param pixels RGB, side x side */
export function mobilenetByHand(folder: string, pixels: Uint8Array, side: number): Float64Array {
  const weights = readWeights(folder);
  let picture: Picture = { side, channels: 3, data: Float64Array.from(pixels, (value) => value / 127.5 - 1) };
  picture = normal(weights, 'conv1', convolve(picture, weights.get('conv1/kernel')!, 3, 2));
  for (let block = 1; block <= 12; block++) {
    const stride = [2, 4, 6, 12].includes(block) ? 2 : 1;
    const [depthwise, pointwise] = [`conv_dw_${block}`, `conv_pw_${block}`];
    const kernel = weights.get(`${depthwise}/depthwise_kernel`)!;
    picture = normal(weights, depthwise, convolveEach(picture, kernel, stride));
    picture = normal(weights, pointwise, convolve(picture, weights.get(`${pointwise}/kernel`)!, 1, 1));
  }
  const means = new Float64Array(picture.channels);
  picture.data.forEach((value, i) => void (means[i % means.length]! += value / picture.side ** 2));
  return means;
}

/** Weights by name; a layer whose file is missing has none. */
function readWeights(folder: string): Map<string, Float32Array> {
  const { weightsManifest } = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'));
  const weights = new Map<string, Float32Array>();
  for (const { paths, weights: own } of weightsManifest) {
    const files = (paths as string[]).map((path) => join(folder, path));
    if (!files.every((file) => existsSync(file))) continue;
    const values = new Float32Array(Uint8Array.from(Buffer.concat(files.map((file) => readFileSync(file)))).buffer);
    let at = 0;
    for (const { name, shape } of own as { name: string; shape: number[] }[]) {
      const length = shape.reduce((product, size) => product * size, 1);
      weights.set(name, values.subarray(at, (at += length)));
    }
  }
  return weights;
}

/** The corner of what an output pixel sees. TensorFlow's `same`: with stride 2 nothing is added before the first pixel. */
const corner = (place: number, size: number, stride: number) => place * stride - (size === 3 && stride === 1 ? 1 : 0);

/** @param kernel (size, size, input, output) */
function convolve({ side, channels, data }: Picture, kernel: Float32Array, size: number, stride: number): Picture {
  const outputs = kernel.length / (size * size * channels);
  const outer = Math.ceil(side / stride);
  const out = new Float64Array(outer * outer * outputs);
  for (let place = 0; place < outer * outer; place++) {
    const [top, left] = [Math.floor(place / outer), place % outer].map((at) => corner(at, size, stride));
    const sums = out.subarray(place * outputs, (place + 1) * outputs);
    for (let k = 0; k < size * size; k++) {
      const [y, x] = [top! + Math.floor(k / size), left! + (k % size)];
      if (y < 0 || y >= side || x < 0 || x >= side) continue;
      for (let channel = 0; channel < channels; channel++) {
        const value = data[(y * side + x) * channels + channel]!;
        const row = (k * channels + channel) * outputs;
        if (value !== 0) for (let o = 0; o < outputs; o++) sums[o]! += value * kernel[row + o]!;
      }
    }
  }
  return { side: outer, channels: outputs, data: out };
}

/** Every channel by itself. @param kernel (3, 3, channel) */
function convolveEach({ side, channels, data }: Picture, kernel: Float32Array, stride: number): Picture {
  const outer = Math.ceil(side / stride);
  const out = new Float64Array(outer * outer * channels);
  for (let place = 0; place < outer * outer; place++) {
    const [top, left] = [Math.floor(place / outer), place % outer].map((at) => corner(at, 3, stride));
    for (let k = 0; k < 9; k++) {
      const [y, x] = [top! + Math.floor(k / 3), left! + (k % 3)];
      if (y < 0 || y >= side || x < 0 || x >= side) continue;
      for (let channel = 0; channel < channels; channel++) {
        out[place * channels + channel]! +=
          data[(y * side + x) * channels + channel]! * kernel[k * channels + channel]!;
      }
    }
  }
  return { side: outer, channels, data: out };
}

/** Batch normalisation and ReLU6. */
function normal(weights: ReadonlyMap<string, Float32Array>, layer: string, picture: Picture): Picture {
  const [gamma, beta, mean, variance] = ['gamma', 'beta', 'moving_mean', 'moving_variance'].map(
    (part) => weights.get(`${layer}_bn/${part}`)!,
  ) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const data = picture.data.map((value, i) => {
    const c = i % picture.channels;
    return Math.min(6, Math.max(0, ((value - mean[c]!) / Math.sqrt(variance[c]! + 0.001)) * gamma[c]! + beta[c]!));
  });
  return { ...picture, data };
}
