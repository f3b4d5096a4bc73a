/**
 * The Device on WebGPU: named kernels become dispatches of specialised WGSL (`passes.ts` says which), gathered into few
 * submits, on pooled buffers. Knows nothing of Node or of files.
 */
import { UserError } from '../../errors.ts';
import { namedArguments, requireArguments } from '../arguments.ts';
import type { Device, Storage, View } from '../device.ts';
import type { KernelName } from '../kernels.ts';
import { BUFFER_USAGE, BufferPool, type GpuStorage, megabytes } from './buffers.ts';
import type { Capabilities, Pass } from './pass.ts';
import { passes } from './passes.ts';
import { SCAN_PIECE, scanChunk } from './scan-passes.ts';
import { parseShader, type Shader, specialise } from './shader.ts';

/** Dispatches per submit. Bounds the wait of a submit (systems reset a GPU that is busy for seconds) and the uniforms. */
const BATCH = 96;
/** Bytes of the arguments of one dispatch; also the strictest alignment that WebGPU allows an adapter to ask for. */
const ARGS_BYTES = 256;
const MAX_BIND_GROUPS = 4096;
/** Enough threads in a scan's workgroup to hide waiting, few enough for all the registers a segment needs. */
const SCAN_THREADS = 256;

interface Pipeline {
  readonly id: number;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

interface Binding {
  readonly storage: GpuStorage;
  /** In elements of 4 bytes. */
  start: number;
  end: number;
  written: boolean;
  readonly half: boolean;
}

export interface WebGpuDeviceOptions {
  /** What people read: adapter and driver. */
  readonly name: string;
  /** WGSL by file name without extension. */
  readonly sources: Readonly<Record<string, string>>;
  /** Threads of a scan's workgroup. */
  readonly scanThreads?: number;
  /** Bytes of the largest binding, if fewer than the GPU allows. */
  readonly maxBinding?: number;
  /** Whether the scan may use subgroups, where the GPU has them: `lanesFollowThreads`. */
  readonly subgroups?: boolean;
  /** Store what only passes between kernels as f16, if the GPU can. */
  readonly half?: boolean;
  /** How to wait for the GPU, where there is a better way than to await. */
  readonly waitFor?: <T>(work: Promise<T>) => Promise<T>;
  /** Kept alive until `close` (Dawn's instance in Node). */
  readonly owner?: unknown;
}

export class WebGpuDevice implements Device {
  readonly kind = 'webgpu';
  readonly half: boolean;
  readonly maxStorageBytes: number;
  readonly scanPiece = SCAN_PIECE;
  readonly scanChunk: number;
  readonly capabilities: Capabilities;

  readonly #gpu: GPUDevice;
  readonly #sources: Record<string, string>;
  readonly #pool: BufferPool;
  readonly #shaders = new Map<string, Shader>();
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #bindGroups = new Map<string, GPUBindGroup>();
  readonly #alignment: number;
  readonly #waitFor: <T>(work: Promise<T>) => Promise<T>;

  readonly #args: GPUBuffer;
  readonly #argsData = new DataView(new ArrayBuffer(BATCH * ARGS_BYTES));
  #encoder: GPUCommandEncoder | null = null;
  #pass: GPUComputePassEncoder | null = null;
  #dispatches = 0;
  #batch = 0;

  /** Checks of pipelines that are still under way. */
  readonly #compiling = new Set<Promise<void>>();
  #lost: UserError | null = null;
  #failure: Error | null = null;
  #closed = false;
  /** What must not be collected while the device lives. */
  readonly #kept: unknown[] = [];

  readonly name: string;

  constructor(gpu: GPUDevice, options: WebGpuDeviceOptions) {
    const { name, sources, scanThreads = SCAN_THREADS, half, waitFor, owner } = options;
    const { maxBinding = Number.POSITIVE_INFINITY, subgroups: inOrder = true } = options;
    this.#gpu = gpu;
    this.#waitFor = waitFor ?? ((work) => work);
    this.half = half === true && gpu.features.has('shader-f16');
    this.name = this.half ? `${name}, activations in f16` : name;
    this.#kept.push(owner);
    const { limits } = gpu;
    const subgroups = inOrder && gpu.features.has('subgroups');
    this.capabilities = {
      subgroup: subgroups ? gpu.adapterInfo.subgroupMinSize : 0,
      maxBinding: Math.min(maxBinding, limits.maxStorageBufferBindingSize, limits.maxBufferSize),
      maxBuffers: limits.maxStorageBuffersPerShaderStage,
      workgroupBytes: limits.maxComputeWorkgroupStorageSize,
      scanThreads: Math.min(scanThreads, limits.maxComputeInvocationsPerWorkgroup),
    };
    this.maxStorageBytes = this.capabilities.maxBinding;
    this.scanChunk = scanChunk(this.capabilities);
    this.#sources = { ...sources, groupScan: sources[subgroups ? 'groupScanSubgroups' : 'groupScanShared'] ?? '' };
    this.#alignment = limits.minStorageBufferOffsetAlignment / 4;
    this.#pool = new BufferPool(gpu, () => {
      this.#flush();
      this.#bindGroups.clear();
    });
    this.#args = gpu.createBuffer({
      size: BATCH * ARGS_BYTES,
      usage: BUFFER_USAGE.uniform | BUFFER_USAGE.copyDst,
    });
    gpu.addEventListener('uncapturederror', (event) => {
      event.preventDefault();
      this.#fail((event as GPUUncapturedErrorEvent).error);
    });
    gpu.lost.then((info) => {
      if (this.#closed) return;
      this.#lost = new UserError(
        'device-lost',
        `The GPU device ${name} was lost (${info.message || info.reason}).`,
        'Run it again; if it is lost again, update the graphics driver, use smaller chunks, or use the device `wasm`.',
      );
    });
  }

  get lost(): boolean {
    return this.#lost !== null;
  }

  /** For a library that computes on the same device; what has been recorded here goes first. */
  share(): GPUDevice {
    this.#checkOpen();
    this.#flush();
    return this.#gpu;
  }

  /** The buffer of a storage, for such a library to write; it may be longer. */
  bufferOf(storage: Storage): GPUBuffer {
    this.share();
    return (storage as GpuStorage).buffer.gpu;
  }

  /** Shaders beside those of the kernels, by name, for `dispatch`. */
  addShaders(sources: Readonly<Record<string, string>>): void {
    Object.assign(this.#sources, sources);
  }

  create(length: number): GpuStorage {
    this.#checkOpen();
    return this.#pool.take(length);
  }

  release(storage: Storage): void {
    this.#pool.give(storage as GpuStorage);
  }

  memory(): { live: number; peak: number } {
    return this.#pool.memory;
  }

  write(storage: Storage, data: Float32Array | Int32Array, offset = 0): void {
    this.#checkOpen();
    if (offset < 0 || offset + data.length > storage.length) {
      throw new Error(`write of ${data.length} elements at ${offset} into storage of ${storage.length}`);
    }
    const { buffer } = storage as GpuStorage;
    // writeBuffer goes ahead of what is not yet submitted.
    if (buffer.batch === this.#batch) this.#flush();
    const shared = typeof SharedArrayBuffer !== 'undefined' && data.buffer instanceof SharedArrayBuffer;
    const own = (shared ? data.slice() : data) as Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
    this.#gpu.queue.writeBuffer(buffer.gpu, offset * 4, own);
  }

  run(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void {
    this.#checkOpen();
    requireArguments(kernel, views, params);
    const scratch: GpuStorage[] = [];
    const call = {
      ...namedArguments(kernel, views, params),
      gpu: this.capabilities,
      scratch: (length: number): View => {
        const storage = this.#pool.take(length);
        scratch.push(storage);
        return { storage, offset: 0, length };
      },
    };
    try {
      for (const pass of passes[kernel](call as never)) this.dispatch(pass);
    } finally {
      for (const storage of scratch) this.#pool.give(storage);
    }
  }

  async read(view: View): Promise<Float32Array> {
    this.#checkOpen();
    if (view.half) throw new Error('read of f16');
    if (view.length === 0) return new Float32Array(0);
    const { buffer } = view.storage as GpuStorage;
    const size = view.length * 4;
    const staging = this.#gpu.createBuffer({ size, usage: BUFFER_USAGE.mapRead | BUFFER_USAGE.copyDst });
    this.#endPass();
    this.#openEncoder().copyBufferToBuffer(buffer.gpu, view.offset * 4, staging, 0, size);
    this.#flush();
    try {
      await this.#waitFor(staging.mapAsync(1));
      const data = new Float32Array(staging.getMappedRange().slice(0));
      await this.#checkWork();
      return data;
    } catch (error) {
      throw await this.#reason(error);
    } finally {
      staging.destroy();
    }
  }

  async finish(): Promise<void> {
    this.#checkOpen();
    this.#flush();
    try {
      await this.#waitFor(this.#gpu.queue.onSubmittedWorkDone());
      await this.#checkWork();
      // Of a lost device all work counts as done.
      this.#checkOpen();
    } catch (error) {
      throw await this.#reason(error);
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#encoder = null;
    this.#pass = null;
    await Promise.allSettled(this.#compiling);
    // A driver may not survive losing its device under running work (SwiftShader does not).
    await this.#waitFor(this.#gpu.queue.onSubmittedWorkDone()).catch(() => {});
    this.#bindGroups.clear();
    this.#pipelines.clear();
    this.#gpu.destroy();
    await this.#gpu.lost;
    this.#kept.length = 0;
  }

  /** Queues one pass of one shader, as `run` does for each of its kernels. */
  dispatch({ shader: name, views, params, constants = {}, groups }: Pass): void {
    this.#checkOpen();
    if (groups.some((n) => n === 0)) return;
    const shader = this.#shader(name);
    const bindings = new Map<string, Binding>();
    const owner = this.#bind(shader, views, bindings);
    const { pipeline, layout, id } = this.#pipeline(shader, constants, owner, bindings);

    if (this.#dispatches === BATCH) this.#flush();
    const slot = this.#dispatches++ * ARGS_BYTES;
    for (const [i, { name, type }] of shader.args.entries()) {
      let value = params[name];
      if (name.endsWith('_at')) value = this.#offset(shader, name.slice(0, -3), views, owner, bindings);
      if (value === undefined) throw new Error(`${shader.name}.wgsl wants ${name}`);
      if (type === 'f32') this.#argsData.setFloat32(slot + i * 4, value, true);
      else this.#argsData.setInt32(slot + i * 4, value, true);
    }

    let key = `${id}`;
    for (const { storage, start, end } of bindings.values()) {
      storage.buffer.batch = this.#batch;
      key += ` ${storage.buffer.id}:${start}:${end}`;
    }
    const pass = this.#openPass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, this.#bindGroup(key, layout, bindings), [slot]);
    pass.dispatchWorkgroups(groups[0], groups[1] ?? 1, groups[2] ?? 1);
  }

  /** Decides which view uses whose binding, and the window of storage that each binding covers. */
  #bind(shader: Shader, views: Pass['views'], bindings: Map<string, Binding>): ReadonlyMap<string, string | null> {
    const owner = new Map<string, string | null>();
    const present = shader.buffers.filter((b) => views[b.name]);
    for (const buffer of shader.buffers) {
      const view = views[buffer.name];
      if (!view) {
        owner.set(buffer.name, null);
        continue;
      }
      const storage = view.storage as GpuStorage;
      if (storage.released) throw new Error(`${shader.name}: view ${buffer.name} was released`);
      const same = present.filter((b) => views[b.name]!.storage === storage);
      const shared = same.some((b) => b.written);
      const first = shared ? same[0]! : buffer;
      if (first.element !== buffer.element) throw new Error(`${shader.name}: ${buffer.name} and ${first.name} share`);
      owner.set(buffer.name, first.name);
      const half = view.half === true;
      const inWord = half ? 2 : 1;
      const start = Math.floor(view.offset / inWord / this.#alignment) * this.#alignment;
      const end = Math.ceil((view.offset + Math.max(1, view.length)) / inWord);
      const binding = bindings.get(first.name);
      if (binding) {
        if (binding.half !== half)
          throw new Error(`${shader.name}: ${buffer.name} and ${first.name} share, one as f16`);
        binding.start = Math.min(binding.start, start);
        binding.end = Math.max(binding.end, end);
        binding.written ||= buffer.written;
      } else bindings.set(first.name, { storage, start, end, written: buffer.written, half });
    }
    for (const { start, end } of bindings.values()) {
      const bytes = (end - start) * 4;
      if (bytes <= this.capabilities.maxBinding) continue;
      throw new UserError(
        'gpu-memory',
        `The kernel ${shader.name} needs ${megabytes(bytes)} in one binding; this GPU allows ${megabytes(this.capabilities.maxBinding)}.`,
        'Use smaller chunks of patches, or the device `wasm`.',
      );
    }
    return owner;
  }

  #offset(
    shader: Shader,
    name: string,
    views: Pass['views'],
    owner: ReadonlyMap<string, string | null>,
    bindings: ReadonlyMap<string, Binding>,
  ): number {
    const view = views[name];
    if (!view) return 0;
    const { start, half } = bindings.get(owner.get(name)!)!;
    const at = view.offset - start * (half ? 2 : 1);
    return shader.buffers.find((b) => b.name === name)!.element === 'vec4f' ? at / 4 : at;
  }

  #shader(name: string): Shader {
    let shader = this.#shaders.get(name);
    if (!shader) this.#shaders.set(name, (shader = parseShader(name, this.#sources)));
    return shader;
  }

  #pipeline(
    shader: Shader,
    constants: NonNullable<Pass['constants']>,
    owner: ReadonlyMap<string, string | null>,
    bindings: ReadonlyMap<string, Binding>,
  ): Pipeline {
    let key = shader.name;
    for (const name in constants) key += ` ${name}=${constants[name]}`;
    const halves = new Set<string>();
    for (const [name, to] of owner) {
      const half = to !== null && bindings.get(to)!.half;
      if (half) halves.add(name);
      key += `${to === name ? ' .' : ` ${to}`}${half ? 'h' : ''}`;
    }
    const cached = this.#pipelines.get(key);
    if (cached) return cached;

    if (bindings.size > this.capabilities.maxBuffers) {
      throw new Error(`${shader.name}: ${bindings.size} bindings of ${this.capabilities.maxBuffers}`);
    }
    const code = specialise(shader, constants, owner, halves);
    const layout = this.#layout([...bindings.values()].map((b) => (b.written ? 'w' : 'r')).join(''));
    this.#gpu.pushErrorScope('validation');
    const module = this.#gpu.createShaderModule({ code, label: shader.name });
    const pipeline = this.#gpu.createComputePipeline({
      label: shader.name,
      layout: this.#gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint: 'main' },
    });
    const check = this.#gpu
      .popErrorScope()
      .then(async (error) => {
        // The cause of whatever failed with this pipeline in the meantime.
        if (error) this.#failure = new Error(await describe(shader.name, module, code, error));
      })
      .catch(() => undefined)
      .finally(() => this.#compiling.delete(check));
    this.#compiling.add(check);
    const made = { id: this.#pipelines.size, pipeline, layout };
    this.#pipelines.set(key, made);
    return made;
  }

  /** @param access one letter for each storage binding: r read, w read and write. */
  #layout(access: string): GPUBindGroupLayout {
    let layout = this.#layouts.get(access);
    if (!layout) {
      const visibility = 4; // GPUShaderStage.COMPUTE
      layout = this.#gpu.createBindGroupLayout({
        entries: [
          { binding: 0, visibility, buffer: { type: 'uniform', hasDynamicOffset: true } },
          ...[...access].map((a, i) => ({
            binding: i + 1,
            visibility,
            buffer: { type: (a === 'w' ? 'storage' : 'read-only-storage') as GPUBufferBindingType },
          })),
        ],
      });
      this.#layouts.set(access, layout);
    }
    return layout;
  }

  #bindGroup(key: string, layout: GPUBindGroupLayout, bindings: ReadonlyMap<string, Binding>): GPUBindGroup {
    let group = this.#bindGroups.get(key);
    if (!group) {
      if (this.#bindGroups.size >= MAX_BIND_GROUPS) this.#bindGroups.clear();
      group = this.#gpu.createBindGroup({
        layout,
        entries: [
          { binding: 0, resource: { buffer: this.#args, size: ARGS_BYTES } },
          ...[...bindings.values()].map(({ storage, start, end }, i) => ({
            binding: i + 1,
            // Whole vec4f: buffers are multiples of 16 bytes.
            resource: { buffer: storage.buffer.gpu, offset: start * 4, size: Math.ceil((end - start) / 4) * 16 },
          })),
        ],
      });
      this.#bindGroups.set(key, group);
    }
    return group;
  }

  #openEncoder(): GPUCommandEncoder {
    this.#encoder ??= this.#gpu.createCommandEncoder();
    return this.#encoder;
  }

  #openPass(): GPUComputePassEncoder {
    this.#pass ??= this.#openEncoder().beginComputePass();
    return this.#pass;
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = null;
  }

  #flush(): void {
    if (!this.#encoder) return;
    this.#endPass();
    if (this.#dispatches) {
      this.#gpu.queue.writeBuffer(
        this.#args,
        0,
        this.#argsData.buffer as ArrayBuffer,
        0,
        this.#dispatches * ARGS_BYTES,
      );
    }
    this.#gpu.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
    this.#dispatches = 0;
    this.#batch++;
  }

  #fail(error: GPUError): void {
    const memory = error.constructor.name === 'GPUOutOfMemoryError';
    this.#failure ??= memory
      ? new UserError(
          'gpu-memory',
          `The GPU ${this.name} has no memory left (${megabytes(this.memory().live)} in use by this program).`,
          'Use smaller chunks of patches, close other programs that use the GPU, or use the device `wasm`.',
        )
      : new Error(`WebGPU: ${error.message}`);
  }

  #checkOpen(): void {
    if (this.#lost) throw this.#lost;
    if (this.#closed) throw new Error('the WebGPU device is closed');
  }

  /** Throws what went wrong in the work so far, once; only the loss of the device stays. */
  async #checkWork(): Promise<void> {
    await Promise.allSettled(this.#compiling);
    const failure = this.#failure;
    this.#failure = null;
    if (failure) throw failure;
  }

  /** Mapping fails without a reason when the device is lost or a kernel did not compile: find the reason. */
  async #reason(error: unknown): Promise<unknown> {
    await Promise.allSettled(this.#compiling);
    await new Promise((resolve) => setTimeout(resolve));
    const reason = this.#lost ?? this.#failure ?? error;
    this.#failure = null;
    return reason;
  }
}

/** Compiler messages with the lines they speak of. */
async function describe(name: string, module: GPUShaderModule, code: string, error: GPUError): Promise<string> {
  const lines = code.split('\n');
  const { messages } = await module.getCompilationInfo();
  const told = messages
    .filter((m) => m.type === 'error')
    .map((m) => `${name}.wgsl: ${m.message}\n${m.lineNum} | ${lines[m.lineNum - 1] ?? ''}`);
  return told.join('\n') || `${name}.wgsl: ${error.message}`;
}
