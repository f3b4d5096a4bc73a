import { openSwiftShader, withoutSwiftShader } from '../kernels/webgpu/swiftshader.ts';
import { goldenSuite } from './suite.ts';

goldenSuite({ name: 'webgpu (SwiftShader)', missing: withoutSwiftShader, open: () => openSwiftShader() });
