/**
 * A question to the GPU before it computes: do the threads of a workgroup lie in subgroups in their own order? WGSL does not
 * promise it, and the scan's shuffles (`groupScanSubgroups.wgsl`) hand pairs to the neighbour as if it did.
 */
import { BUFFER_USAGE } from './buffers.ts';

/** @param threads of the workgroup that is asked. @returns false as well for a GPU without subgroups. */
export async function lanesFollowThreads(gpu: GPUDevice, threads = 256): Promise<boolean> {
  if (!gpu.features.has('subgroups')) return false;
  const row = gpu.adapterInfo.subgroupMinSize;
  const size = threads * 4;
  const { storage, copySrc, copyDst, mapRead } = BUFFER_USAGE;
  const found = gpu.createBuffer({ size, usage: storage | copySrc });
  const staging = gpu.createBuffer({ size, usage: copyDst | mapRead });
  try {
    const pipeline = gpu.createComputePipeline({
      layout: 'auto',
      compute: { module: gpu.createShaderModule({ code: askNeighbours(threads) }), entryPoint: 'main' },
    });
    const layout = pipeline.getBindGroupLayout(0);
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, gpu.createBindGroup({ layout, entries: [{ binding: 0, resource: { buffer: found } }] }));
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(found, 0, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(1);
    const neighbours = new Uint32Array(staging.getMappedRange());
    return neighbours.every((left, thread) => thread % row === 0 || left === thread - 1);
  } finally {
    found.destroy();
    staging.destroy();
  }
}

/** Each thread writes who its left neighbour in the subgroup is. */
function askNeighbours(threads: number): string {
  return `enable subgroups;
@group(0) @binding(0) var<storage, read_write> found: array<u32>;
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) thread: u32) {
  found[thread] = subgroupShuffleUp(thread, 1u);
}`;
}
