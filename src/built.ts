/**
 * Where the products of the build lie (wasm, workers, shaders, the viewer's page): beside the compiled module in `dist`,
 * also when the module itself runs from its TypeScript source, as it does in the tests.
 *
 * @example startBuilt(built('./decode-worker.js', import.meta.url), data)
 */
export function built(relative: string, moduleUrl: string): URL {
  return new URL(relative, moduleUrl.replace(/\/(src|datasets|test|bench)\/(.*)\.ts$/, '/dist/$1/$2.js'));
}
