/**
 * The smallest ONNX model there is: one Gemm, Y = op(A) op(B) (+ C), with free sizes. Bytes of its protobuf message,
 * field by field (onnx.proto, opset 13).
 */

export function gemmModel(transA: boolean, transB: boolean, addend: boolean): Uint8Array {
  const inputs = addend ? ['A', 'B', 'C'] : ['A', 'B'];
  const node = [
    ...inputs.flatMap((name) => text(1, name)),
    ...text(2, 'Y'),
    ...text(4, 'Gemm'),
    ...message(5, intAttribute('transA', Number(transA))),
    ...message(5, intAttribute('transB', Number(transB))),
  ];
  const graph = [
    ...message(1, node),
    ...text(2, 'product'),
    ...inputs.flatMap((name) => message(11, matrix(name))),
    ...message(12, matrix('Y')),
  ];
  const opset = [...text(1, ''), ...integer(2, 13)];
  return Uint8Array.from([...integer(1, 8), ...message(7, graph), ...message(8, opset)]);
}

/** A float matrix whose sizes are free: each is named after the matrix. */
function matrix(name: string): number[] {
  const shape = [`${name}0`, `${name}1`].flatMap((size) => message(1, text(2, size)));
  return [...text(1, name), ...message(2, message(1, [...integer(1, 1), ...message(2, shape)]))];
}

function intAttribute(name: string, value: number): number[] {
  return [...text(1, name), ...integer(3, value), ...integer(20, 2)];
}

function integer(field: number, value: number): number[] {
  return [...varint(field << 3), ...varint(value)];
}

function message(field: number, bytes: number[]): number[] {
  return [...varint((field << 3) | 2), ...varint(bytes.length), ...bytes];
}

function text(field: number, value: string): number[] {
  return message(field, [...new TextEncoder().encode(value)]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return [...bytes, value];
}
