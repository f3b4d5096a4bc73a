/** A product as users of onnxruntime-node compute it: tensors in, a tensor out, through its own API. */
import { gemmModel } from '../kernels/wasm/gemm-model.ts';
import { type ProductShape, productOperands } from './layer-cases.ts';

export interface OnnxruntimeProduct {
  /** One product; its result is a new tensor each time, as this API has it. */
  run(): Promise<Float32Array>;
  close(): Promise<void>;
}

/** @param threads of onnxruntime's own pool, which may spin as it does by default. */
export async function openOnnxruntimeProduct(shape: ProductShape, threads: number): Promise<OnnxruntimeProduct> {
  // Not at the top: a machine that measures its GPU alone needs no onnxruntime.
  const ort = await import('onnxruntime-node');
  const { m, n, k, transA = false, transB = false } = shape;
  const session = await ort.InferenceSession.create(gemmModel(transA, transB, false), { intraOpNumThreads: threads });
  const { a, b } = productOperands(shape);
  const feeds = {
    A: new ort.Tensor('float32', a, transA ? [k, m] : [m, k]),
    B: new ort.Tensor('float32', b, transB ? [n, k] : [k, n]),
  };
  return {
    run: async () => (await session.run(feeds)).Y!.data as Float32Array,
    close: () => session.release(),
  };
}
