/** Choosing a WebGPU adapter and asking it for a device. Runs in Node and in browsers. */
import { UserError } from '../../errors.ts';

/** What a test may take away from a device, to walk the plain paths. */
export interface DeviceRestrictions {
  readonly limits?: Partial<Record<(typeof LIMITS)[number], number>>;
  readonly subgroups?: boolean;
  /** A software adapter's time to compile grows with the workgroup. */
  readonly scanThreads?: number;
  /** Bytes; `limits` cannot go below the 128 MiB that every GPU has. */
  readonly maxBinding?: number;
}

const LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** Software adapters compute correctly but 20 to 400 times slower than our WebAssembly kernels. */
export function isSoftware(adapter: GPUAdapter): boolean {
  return adapter.info.isFallbackAdapter || /llvmpipe|swiftshader|basic render|software/i.test(adapterName(adapter));
}

export function adapterName(adapter: GPUAdapter): string {
  const { vendor, architecture, device, description } = adapter.info;
  return [...new Set([description || device, architecture, vendor])].filter(Boolean).join(', ') || 'unnamed adapter';
}

/**
 * An adapter of the wanted kind, or null when there is none.
 * @throws UserError `no-gpu` if `required`.
 */
export async function requestAdapter(
  gpu: GPU | undefined,
  { software, required }: { software: boolean; required: boolean },
): Promise<GPUAdapter | null> {
  const adapter = (await gpu?.requestAdapter({ powerPreference: 'high-performance' })) ?? null;
  if (adapter && (software || !isSoftware(adapter))) return adapter;
  if (!required) return null;
  throw new UserError(
    'no-gpu',
    adapter ? `The only WebGPU adapter is software (${adapterName(adapter)}).` : 'No WebGPU adapter was found.',
    'Install a Vulkan, Metal or Direct3D 12 driver, or use the device `wasm`.',
  );
}

/** A device with all the adapter has of what the kernels can use. */
export async function requestDevice(adapter: GPUAdapter, restrict: DeviceRestrictions = {}): Promise<GPUDevice> {
  const requiredLimits = Object.fromEntries(
    LIMITS.map((name) => [name, restrict.limits?.[name] ?? adapter.limits[name]]),
  );
  const requiredFeatures: GPUFeatureName[] = [];
  if (restrict.subgroups !== false && adapter.features.has('subgroups')) requiredFeatures.push('subgroups');
  // For activations in f16, and for networks in half precision on the same device.
  if (adapter.features.has('shader-f16')) requiredFeatures.push('shader-f16');
  return adapter.requestDevice({ requiredLimits, requiredFeatures });
}
