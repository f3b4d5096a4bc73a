/** Linear layers by their name in a checkpoint. */
import type { Activation } from '../kernels/kernels.ts';
import { linear } from '../kernels/matmul.ts';
import type { Parameters } from '../kernels/parameters.ts';
import type { Tape } from '../kernels/tape.ts';
import type { Tensor } from '../kernels/tensor.ts';

/** weight (out, in) and bias (out), as PyTorch's Linear; also the weight and bias of a LayerNorm. */
export interface Dense {
  readonly weight: Tensor;
  readonly bias: Tensor;
}

type Shapes = [string, readonly number[]][];

export function denseShapes(name: string, out: number, input: number): Shapes {
  return [
    [`${name}.weight`, [out, input]],
    [`${name}.bias`, [out]],
  ];
}

export function normShapes(name: string, width: number): Shapes {
  return [
    [`${name}.weight`, [width]],
    [`${name}.bias`, [width]],
  ];
}

export function denseOf(parameters: Parameters, name: string): Dense {
  return { weight: parameters.get(`${name}.weight`), bias: parameters.get(`${name}.bias`) };
}

/** y (rows, out) = activation(x (rows, in) W^T + b) */
export function dense(tape: Tape, x: Tensor, layer: Dense, activation: Activation | null = null): Tensor {
  return linear(tape, x, layer.weight, layer.bias, activation);
}
