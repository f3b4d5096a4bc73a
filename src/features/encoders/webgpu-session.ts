/**
 * A network in onnxruntime-web on the WebGPU device of the kernels, which writes its output into memory of theirs. In Node and in
 * browsers the same code; here for Node, where files are read and WebGPU is Dawn's.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type * as OrtWeb from 'onnxruntime-web';
import { UserError } from '../../errors.ts';
import type { Storage } from '../../kernels/device.ts';
import type { WebGpuDevice } from '../../kernels/webgpu/device.ts';
import { defineWebGpuGlobals } from '../../kernels/webgpu/open-node.ts';
import { type GraphPlan, planGraph } from './graph.ts';
import { externalDataOf } from './onnx-file.ts';
import type { PixelData } from './picture-input.ts';
import type { Recipe } from './recipe.ts';
import { asFloats, asTensorData, type Features, firstLine, portsOf } from './session.ts';

export interface GpuSession {
  readonly plan: GraphPlan;
  /** What it gives for a picture whose every number is zero, read back: it tells shapes that the file may leave open. */
  readonly trial: Features;
  /** Queues the network on `count` pictures, whose output goes to the front of a storage, in order with the kernels. */
  run(data: PixelData, count: number, output: Storage): Promise<void>;
  close(): Promise<void>;
}

/** @throws UserError `onnx-load`, `onnx-run`, and as `planGraph` */
export async function openGpuSession(path: string, recipe: Recipe, device: WebGpuDevice): Promise<GpuSession> {
  await defineWebGpuGlobals();
  const gpu = device.share();
  copyShared(gpu.queue);
  const ort: typeof OrtWeb = await import('onnxruntime-web/webgpu');
  ort.env.logLevel = 'error';
  // It asks for an adapter in any case, and then takes the device that it is given.
  const { limits, features } = gpu;
  ort.env.webgpu.adapter = { limits, features, requestDevice: async () => gpu } as GPUAdapter;
  // The work is on the GPU; threads would only wait.
  ort.env.wasm.numThreads = 1;
  const session = await load(ort, path, gpu).catch((cause) => {
    const problem = `${path}: onnxruntime ${ort.env.versions.common} cannot load it on the GPU (${firstLine(cause)}).`;
    throw new UserError('onnx-load', problem, 'Run it on the CPU with --device wasm.', { cause });
  });
  const plan = planGraph(path, portsOf(session.inputMetadata), portsOf(session.outputMetadata), recipe);
  const { size, layout, input, output, type } = plan;
  // One run at a time: onnxruntime's wasm waits for the GPU in the middle of a call.
  let last: Promise<unknown> = Promise.resolve();

  /** @param into null for memory of this machine */
  async function run(data: PixelData, count: number, into: OrtWeb.Tensor | null): Promise<OrtWeb.Tensor> {
    const dims = layout === 'nchw' ? [count, 3, size, size] : [count, size, size, 3];
    const turn = last.then(() =>
      session.run({ [input]: new ort.Tensor(type, asTensorData(data), dims) }, { [output]: into }),
    );
    last = turn.catch(() => {});
    const found = await turn.catch((cause) => {
      const problem = `${path}: the network cannot be run on ${count} patches on the GPU (${firstLine(cause)}).`;
      throw new UserError('onnx-run', problem, 'Try a smaller --batch, or the CPU with --device wasm.', { cause });
    });
    return found[output]!;
  }

  const pictures = plan.batch ?? 1;
  const zeros = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array }[type];
  const trial = await run(new zeros(pictures * 3 * size * size), pictures, null);
  const [, ...shape] = trial.dims;
  return {
    plan,
    trial: { values: floatsOf(trial), shape: trial.dims },
    async run(data, count, storage) {
      const dims = [count, ...shape];
      if (trial.type === 'float32') {
        await run(data, count, ort.Tensor.fromGpuBuffer(device.bufferOf(storage), { dataType: 'float32', dims }));
        return;
      }
      // Halves are widened on the CPU: features are single precision.
      device.write(storage, floatsOf(await run(data, count, null)));
    },
    close: () => session.release(),
  };
}

function floatsOf({ data }: OrtWeb.Tensor): Float32Array {
  return asFloats(data as ArrayBufferView & { length: number });
}

async function load(ort: typeof OrtWeb, path: string, device: GPUDevice): Promise<OrtWeb.InferenceSession> {
  const names = await externalDataOf(path);
  const externalData = await Promise.all(
    names.map(async (name) => ({ path: name, data: await readFile(join(dirname(path), name)) })),
  );
  const provider: OrtWeb.InferenceSession.WebGpuExecutionProviderOption & { device: GPUDevice } = {
    name: 'webgpu',
    device,
  };
  return await ort.InferenceSession.create(await readFile(path), { executionProviders: [provider], externalData });
}

/** onnxruntime's memory is shared between threads, which Dawn's `writeBuffer` refuses: it gets a copy. */
function copyShared(queue: GPUQueue): void {
  if (copying.has(queue)) return;
  copying.add(queue);
  const write = queue.writeBuffer.bind(queue);
  function writeBuffer(
    buffer: GPUBuffer,
    offset: number,
    data: Uint8Array<ArrayBuffer>,
    start?: number,
    length?: number,
  ) {
    if (!((data.buffer as ArrayBufferLike) instanceof SharedArrayBuffer))
      return write(buffer, offset, data, start, length);
    // onnxruntime writes bytes, of which start and length are counts.
    const from = start ?? 0;
    return write(buffer, offset, data.slice(from, length === undefined ? undefined : from + length));
  }
  queue.writeBuffer = writeBuffer as GPUQueue['writeBuffer'];
}

const copying = new WeakSet<GPUQueue>();
