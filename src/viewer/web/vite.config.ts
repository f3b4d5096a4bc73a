import { defineConfig } from 'vite';

/** The page, built beside the compiled server so that `built('./web/', …)` finds it. Nothing is inlined: the CSP forbids it. */
export default defineConfig({
  root: import.meta.dirname,
  base: './',
  build: {
    outDir: '../../../dist/src/viewer/web',
    emptyOutDir: true,
    assetsInlineLimit: 0,
    modulePreload: false,
    target: 'es2022',
  },
});
