/** The two builds of the wasm kernels, for suites that must hold for both. */
import { openWasm } from '../../../src/kernels/wasm/open-node.ts';

const probe = await openWasm({ threads: 1 });
const fuses = probe.name.includes('fused');
await probe.close();

export const builds = [
  { name: fuses ? 'fused' : 'fused (skipped: this Node has no fused multiply-add)', fused: true, missing: !fuses },
  { name: 'plain', fused: false, missing: false },
] as const;
