import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { goldenSuite } from './suite.ts';

/** As a command opens it: fused multiply-add where Node has it, large products by onnxruntime. */
goldenSuite({ name: 'wasm', missing: null, open: () => openWasm() });
/** As where neither is there. */
goldenSuite({ name: 'wasm, plain build alone', missing: null, open: () => openWasm({ fused: false, native: false }) });
