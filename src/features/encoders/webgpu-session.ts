/**
 * A network in onnxruntime-web on the WebGPU device of the kernels. In Node and in browsers the same code; here for Node, where
 * files are read and WebGPU is Dawn's.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type * as OrtWeb from 'onnxruntime-web';
import { UserError } from '../../errors.ts';
import { defineWebGpuGlobals } from '../../kernels/webgpu/open-node.ts';
import { planGraph } from './graph.ts';
import { externalDataOf } from './onnx-file.ts';
import type { PixelData } from './picture-input.ts';
import type { Recipe } from './recipe.ts';
import { asFloats, asTensorData, type Features, firstLine, portsOf, type Session } from './session.ts';

/** @throws UserError `onnx-load`, and as `planGraph` */
export async function openGpuSession(path: string, recipe: Recipe, device: GPUDevice): Promise<Session> {
  await defineWebGpuGlobals();
  copyShared(device.queue);
  const ort: typeof OrtWeb = await import('onnxruntime-web/webgpu');
  ort.env.logLevel = 'error';
  // It asks for an adapter in any case, and then takes the device that it is given.
  const { limits, features } = device;
  ort.env.webgpu.adapter = { limits, features, requestDevice: async () => device } as GPUAdapter;
  // The work is on the GPU; threads would only wait.
  ort.env.wasm.numThreads = 1;
  const session = await load(ort, path, device).catch((cause) => {
    const problem = `${path}: onnxruntime ${ort.env.versions.common} cannot load it on the GPU (${firstLine(cause)}).`;
    throw new UserError('onnx-load', problem, 'Run it on the CPU with --device wasm.', { cause });
  });
  const plan = planGraph(path, portsOf(session.inputMetadata), portsOf(session.outputMetadata), recipe);
  // One run at a time: onnxruntime's wasm waits for the GPU in the middle of a call.
  let last: Promise<unknown> = Promise.resolve();
  return {
    plan,
    provider: 'webgpu',
    async run(data, count) {
      const turn = last.then(() => runOnce(data, count));
      last = turn.catch(() => {});
      return await turn;
    },
    close: () => session.release(),
  };

  async function runOnce(data: PixelData, count: number): Promise<Features> {
    const { size, layout, input, output, type } = plan;
    const dims = layout === 'nchw' ? [count, 3, size, size] : [count, size, size, 3];
    const tensor = new ort.Tensor(type, asTensorData(data), dims);
    const found = await session.run({ [input]: tensor }, [output]).catch((cause) => {
      const problem = `${path}: the network cannot be run on ${count} patches on the GPU (${firstLine(cause)}).`;
      throw new UserError('onnx-run', problem, 'Try a smaller --batch, or the CPU with --device wasm.', { cause });
    });
    const { data: values, dims: shape } = found[output]!;
    return { values: asFloats(values as ArrayBufferView & { length: number }), shape };
  }
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
