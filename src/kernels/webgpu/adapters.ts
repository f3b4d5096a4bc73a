/** What Dawn finds on this machine, for `lamina doctor`. */
import { adapterName, isSoftware } from './adapter.ts';
import { createDawn } from './open-node.ts';

export interface AdapterFound {
  readonly name: string;
  readonly software: boolean;
}

/** The adapters that would be asked for a device, best first; empty when there is none. */
export async function listAdapters(): Promise<AdapterFound[]> {
  const gpu = await createDawn();
  const adapter = await gpu?.requestAdapter({ powerPreference: 'high-performance' });
  return adapter ? [{ name: adapterName(adapter), software: isSoftware(adapter) }] : [];
}
