import { openWasm } from '../../src/kernels/wasm/open-node.ts';
import { goldenSuite } from './suite.ts';

goldenSuite({ name: 'wasm', missing: null, open: () => openWasm() });
