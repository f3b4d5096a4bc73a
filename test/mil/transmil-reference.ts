/** TransMIL in plain loops and double precision, written from its description, to hold the fast one to. */
import type { Weights } from '../../src/mil/safetensors.ts';

type Matrix = number[][];

const HEADS = 8;

/** Logits of one bag x (n rows). */
export function transmilLogits(x: Matrix, weights: Weights): number[] {
  const matrix = (name: string): Matrix => {
    const { data, shape } = weights.get(name)!;
    const columns = data.length / shape[0]!;
    return Array.from({ length: shape[0]! }, (_, i) => Array.from(data.subarray(i * columns, (i + 1) * columns)));
  };
  const vector = (name: string) => Array.from(weights.get(name)!.data);
  const linear = (rows: Matrix, name: string) => {
    const [W, b] = [matrix(`${name}.weight`), weights.has(`${name}.bias`) ? vector(`${name}.bias`) : null];
    return rows.map((row) => W.map((w, i) => dot(w, row) + (b?.[i] ?? 0)));
  };
  const norm = (rows: Matrix, name: string) => {
    const [w, b] = [vector(`${name}.weight`), vector(`${name}.bias`)];
    return rows.map((row) => {
      const mean = row.reduce((s, v) => s + v, 0) / row.length;
      const variance = row.reduce((s, v) => s + (v - mean) ** 2, 0) / row.length;
      return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * w[i]! + b[i]!);
    });
  };

  const attend = (h: Matrix, name: string): Matrix => {
    const width = h[0]!.length;
    const [m, size] = [width / 2, width / HEADS];
    const group = Math.ceil(h.length / m);
    const padding = group * m - h.length;
    const zeros = Array.from({ length: padding }, () => new Array<number>(width).fill(0));
    const qkv = linear([...zeros, ...norm(h, `${name}.norm`)], `${name}.attn.to_qkv`);
    const part = (kind: number, head: number) => qkv.map((row) => row.slice(kind * width + head * size).slice(0, size));
    const landmarks = (rows: Matrix) =>
      Array.from({ length: m }, (_, i) => {
        const own = rows.slice(i * group, (i + 1) * group);
        return own[0]!.map((_, c) => own.reduce((s, row) => s + row[c]!, 0) / group);
      });
    const heads = Array.from({ length: HEADS }, (_, head) => {
      const q = part(0, head).map((row) => row.map((v) => v / Math.sqrt(size)));
      const [k, v] = [part(1, head), part(2, head)];
      const links = softmax(multiply(landmarks(q), transposed(landmarks(k))));
      return { q, k, v, links, head };
    });
    const columnSums = heads.flatMap(({ links }) =>
      transposed(links).map((column) => column.reduce((s, a) => s + a, 0)),
    );
    const largest = Math.max(...columnSums);
    const kernels = matrix(`${name}.attn.res_conv.weight`);
    const outs = heads.map(({ q, k, v, links, head }) => {
      const toLandmarks = softmax(multiply(q, transposed(landmarks(k))));
      const toValues = softmax(multiply(landmarks(q), transposed(k)));
      const mixed = multiply(multiply(toLandmarks, inverse(links, largest)), multiply(toValues, v));
      return mixed.map((row, t) =>
        row.map((value, c) => kernels[head]!.reduce((s, w, j) => s + w * (v[t + j - 16]?.[c] ?? 0), value)),
      );
    });
    const joined = outs[0]!.map((_, t) => outs.flatMap((out) => out[t]!)).slice(padding);
    return linear(joined, `${name}.attn.to_out.0`).map((row, t) => row.map((v, c) => v + h[t]![c]!));
  };

  const positions = (h: Matrix): Matrix => {
    const [token, ...rows] = h as [number[], ...Matrix];
    const side = Math.sqrt(rows.length);
    const kernels = ['proj', 'proj1', 'proj2'].map((name) => ({
      weight: matrix(`pos_layer.${name}.weight`),
      bias: vector(`pos_layer.${name}.bias`),
      size: weights.get(`pos_layer.${name}.weight`)!.shape[2]!,
    }));
    const encoded = rows.map((row, at) =>
      row.map((value, c) => {
        let sum = value;
        for (const { weight, bias, size } of kernels) {
          sum += bias[c]!;
          for (let i = 0; i < size * size; i++) {
            const y = Math.floor(at / side) + Math.floor(i / size) - (size - 1) / 2;
            const x = (at % side) + (i % size) - (size - 1) / 2;
            if (y >= 0 && y < side && x >= 0 && x < side) sum += weight[c]![i]! * rows[y * side + x]![c]!;
          }
        }
        return sum;
      }),
    );
    return [token, ...encoded];
  };

  const embedded = linear(x, '_fc1.0').map((row) => row.map((v) => Math.max(0, v)));
  const side = Math.ceil(Math.sqrt(embedded.length));
  const square = [...embedded, ...embedded.slice(0, side * side - embedded.length)];
  let h = attend([vector('cls_token'), ...square], 'layer1');
  h = attend(positions(h), 'layer2');
  return linear(norm(h, 'norm').slice(0, 1), 'classifier')[0]!;
}

function inverse(x: Matrix, largest: number): Matrix {
  const from = (factor: number, a: Matrix) => a.map((row, i) => row.map((v, j) => (i === j ? factor : 0) - v));
  let z = transposed(x).map((row) => row.map((v) => v / largest));
  for (let i = 0; i < 6; i++) {
    const xz = multiply(x, z);
    z = multiply(z, from(13, multiply(xz, from(15, multiply(xz, from(7, xz)))))).map((row) => row.map((v) => v / 4));
  }
  return z;
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, v, i) => sum + v * b[i]!, 0);
const transposed = (a: Matrix): Matrix => a[0]!.map((_, j) => a.map((row) => row[j]!));
const multiply = (a: Matrix, b: Matrix): Matrix => {
  const columns = transposed(b);
  return a.map((row) => columns.map((column) => dot(row, column)));
};
const softmax = (a: Matrix): Matrix =>
  a.map((row) => {
    const most = Math.max(...row);
    const total = row.reduce((sum, v) => sum + Math.exp(v - most), 0);
    return row.map((v) => Math.exp(v - most) / total);
  });
