import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * The self-test and the two programs that it starts, in one flat folder: what they look for beside themselves (`built`)
 * lies there too. Dawn's binding comes as a package; koffi and onnxruntime stay behind, and the code goes on without.
 */
export default defineConfig({
  build: {
    ssr: true,
    target: 'node20',
    outDir: at('../../dist/lamina-gpu'),
    emptyOutDir: true,
    minify: false,
    rolldownOptions: {
      input: {
        'self-test': at('./self-test.ts'),
        worker: at('../../src/kernels/wasm/worker.ts'),
        'model-child': at('../../src/bench/model-child.ts'),
      },
      external: ['webgpu', 'koffi', /^onnxruntime-node/],
      output: { entryFileNames: '[name].js', chunkFileNames: '[name]-[hash].js' },
    },
  },
  ssr: { noExternal: true },
});
