/** A network in onnxruntime, on the CPU or through CUDA where the user's build has it. */
import ort from 'onnxruntime-node';
import { messageOf, UserError } from '../../errors.ts';
import { fromHalf } from '../half.ts';
import { type GraphPlan, type PortShape, planGraph } from './graph.ts';
import type { PixelData } from './picture-input.ts';
import type { Recipe } from './recipe.ts';

export interface Features {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

export interface Session {
  readonly plan: GraphPlan;
  /** What it runs on. */
  readonly provider: 'cpu' | 'cuda';
  /** @param data of `count` pictures */
  run(data: PixelData, count: number): Promise<Features>;
  close(): Promise<void>;
}

/**
 * @param threads null leaves the number to onnxruntime
 * @throws UserError `onnx-load`, and as `planGraph`
 */
export async function openSession(path: string, recipe: Recipe, threads: number | null): Promise<Session> {
  const provider = ort.listSupportedBackends().some(({ name, bundled }) => name === 'cuda' && bundled) ? 'cuda' : 'cpu';
  const session = await ort.InferenceSession.create(path, {
    executionProviders: provider === 'cuda' ? ['cuda', 'cpu'] : ['cpu'],
    // What it has to say comes with the error.
    logSeverityLevel: 4,
    ...(threads !== null && { intraOpNumThreads: threads }),
  }).catch((cause) => {
    throw refused(path, cause);
  });
  const plan = planGraph(path, portsOf(session.inputMetadata), portsOf(session.outputMetadata), recipe);
  return {
    plan,
    provider,
    async run(data, count) {
      const { size, layout, input, output, type } = plan;
      const dims = layout === 'nchw' ? [count, 3, size, size] : [count, size, size, 3];
      const found = await session
        .run({ [input]: new ort.Tensor(type, asTensorData(data), dims) }, [output])
        .catch((cause) => {
          const problem = `${path}: the network cannot be run on ${count} patches (${firstLine(cause)}).`;
          const hint = 'Try a smaller --batch; if that does not help, export it anew as docs/encoders.md says.';
          throw new UserError('onnx-run', problem, hint, { cause });
        });
      const { data: values, dims: shape } = found[output]!;
      return { values: asFloats(values as ArrayBufferView & { length: number }), shape };
    },
    close: () => session.release(),
  };
}

export function portsOf(metadata: readonly ort.InferenceSession.ValueMetadata[]): PortShape[] {
  return metadata.map((one) => ({
    name: one.name,
    type: one.isTensor ? one.type : 'no tensor',
    shape: one.isTensor ? one.shape : [],
  }));
}

/** Newer Nodes have an array of halves of their own, which onnxruntime then asks for. */
const Half = (globalThis as { Float16Array?: new (buffer: ArrayBufferLike, at: number, n: number) => never })
  .Float16Array;

export function asTensorData(data: PixelData) {
  return data instanceof Uint16Array && Half ? new Half(data.buffer, data.byteOffset, data.length) : data;
}

export function asFloats(values: ArrayBufferView & { length: number }): Float32Array {
  if (values instanceof Float32Array) return values;
  const floats = new Float32Array(values.length);
  fromHalf(new Uint16Array(values.buffer, values.byteOffset, values.length), floats);
  return floats;
}

function refused(path: string, cause: unknown): UserError {
  const problem = `${path}: onnxruntime ${ort.env.versions.common} cannot load it (${firstLine(cause)}).`;
  return new UserError('onnx-load', problem, 'Export it anew as docs/encoders.md says, with opset 17.', { cause });
}

export const firstLine = (cause: unknown) => messageOf(cause).split('\n')[0]!.trim().replace(/\.$/, '');
