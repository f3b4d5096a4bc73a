/**
 * Large products by onnxruntime's native library, on the wasm memory in place.
 *
 * WebAssembly has four lanes and no fused multiply-add; onnxruntime's product uses what the processor has and is about
 * three to five times faster. Its Node binding copies every result and refuses shared memory, so its C API is called
 * directly (koffi): the memory's address is asked for once, and tensors are windows of it. OrtApi is a table of function
 * pointers to which onnxruntime only ever appends, so the places used here are the same in all its versions.
 */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { NativeMatmul } from './device.ts';
import { gemmModel } from './gemm-model.ts';

const API_VERSION = 14;

/** Places in OrtApi (onnxruntime_c_api.h). */
const PLACE = {
  getErrorMessage: 2,
  createEnv: 3,
  createSessionFromArray: 8,
  run: 9,
  createSessionOptions: 10,
  disableCpuMemArena: 19,
  setIntraOpNumThreads: 24,
  createTensorWithData: 49,
  createCpuMemoryInfo: 69,
  releaseEnv: 92,
  releaseStatus: 93,
  releaseMemoryInfo: 94,
  releaseSession: 95,
  releaseValue: 96,
  releaseSessionOptions: 100,
  addSessionConfigEntry: 130,
} as const;

const WARNING = 2;
const FLOAT = 1;

type Address = bigint;

/** Null where onnxruntime or koffi have no build for this platform; the device then uses its own product. */
export async function openNativeMatmul(memory: WebAssembly.Memory, threads: number): Promise<NativeMatmul | null> {
  const require = createRequire(import.meta.url);
  try {
    const library = findLibrary(path.dirname(require.resolve('onnxruntime-node/package.json')));
    return library ? bind(require('koffi'), library, memory, threads) : null;
  } catch {
    return null;
  }
}

function findLibrary(folder: string): string | null {
  const at = path.join(folder, 'bin', 'napi-v6', process.platform, process.arch);
  const names = ['libonnxruntime.so.1', 'libonnxruntime.1.dylib', 'libonnxruntime.dylib', 'onnxruntime.dll'];
  return names.map((name) => path.join(at, name)).find((file) => existsSync(file)) ?? null;
}

function bind(koffi: typeof import('koffi'), file: string, memory: WebAssembly.Memory, threads: number): NativeMatmul {
  const libc = koffi.load(process.platform === 'win32' ? 'msvcrt.dll' : null);
  // memmove gives back the address it was given, which is how the address of the memory is learnt. Growing does not move it.
  const bytes = new Uint8Array(memory.buffer);
  const base = libc.func('void *memmove(void *to, void *from, size_t n)')(bytes, bytes, 0) as Address;

  const onnxruntime = koffi.load(file);
  const apiBase = onnxruntime.func('void *OrtGetApiBase()')() as Address;
  const [getApi] = koffi.decode(apiBase, koffi.array('void *', 1)) as [Address];
  const table = koffi.call(getApi, koffi.proto('void *(uint32_t version)'), API_VERSION) as Address;
  const places = koffi.decode(table, koffi.array('void *', PLACE.addSessionConfigEntry + 1)) as Address[];
  const bound = (place: number, signature: string) => {
    const type = koffi.proto(signature);
    return (...args: unknown[]) => koffi.call(places[place]!, type, ...args) as Address | null;
  };

  const getErrorMessage = bound(PLACE.getErrorMessage, 'const char *(void *status)') as (
    status: Address,
  ) => unknown as (status: Address) => string;
  const releaseStatus = bound(PLACE.releaseStatus, 'void (void *status)');
  const check = (status: Address | null) => {
    if (!status) return;
    const message = getErrorMessage(status);
    releaseStatus(status);
    throw new Error(`onnxruntime: ${message}`);
  };
  const out = new BigUint64Array(1);
  const made = (status: Address | null): Address => {
    check(status);
    return out[0]!;
  };
  const createTensor = bound(
    PLACE.createTensorWithData,
    'void *(void *info, void *data, size_t bytes, void *shape, size_t rank, int type, void *out)',
  );
  const run = bound(
    PLACE.run,
    'void *(void *session, void *options, void *inputNames, void *inputs, size_t inputCount, void *outputNames, size_t outputCount, void *outputs)',
  );
  const releaseValue = bound(PLACE.releaseValue, 'void (void *value)');
  const releaseSession = bound(PLACE.releaseSession, 'void (void *session)');
  const createSession = bound(
    PLACE.createSessionFromArray,
    'void *(void *env, void *model, size_t bytes, void *options, void *out)',
  );
  const env = made(bound(PLACE.createEnv, 'void *(int level, const char *name, void *out)')(WARNING, 'lamina', out));
  const info = made(bound(PLACE.createCpuMemoryInfo, 'void *(int allocator, int memory, void *out)')(1, 0, out));
  const options = made(bound(PLACE.createSessionOptions, 'void *(void *out)')(out));
  check(bound(PLACE.setIntraOpNumThreads, 'void *(void *options, int threads)')(options, threads));
  check(bound(PLACE.disableCpuMemArena, 'void *(void *options)')(options));
  // Its threads would otherwise keep the cores busy for a while after each product, while ours want them.
  const addConfig = bound(PLACE.addSessionConfigEntry, 'void *(void *options, const char *key, const char *value)');
  check(addConfig(options, 'session.intra_op.allow_spinning', '0'));

  const sessions = new Map<string, Address>();
  const session = (transA: boolean, transB: boolean, addend: boolean): Address => {
    const key = `${transA} ${transB} ${addend}`;
    let found = sessions.get(key);
    if (!found) {
      const model = gemmModel(transA, transB, addend);
      found = made(createSession(env, model, model.length, options, out));
      sessions.set(key, found);
    }
    return found;
  };

  // Names as C strings that stay where they are for as long as this binding lives.
  const names = (list: string[]) => {
    const strings = list.map((name) => Buffer.from(`${name}\0`));
    return { strings, pointers: BigUint64Array.from(strings, (s) => koffi.address(s) as bigint) };
  };
  const inputNames = names(['A', 'B', 'C']);
  const outputNames = names(['Y']);
  const values = new BigUint64Array(3);
  const results = new BigUint64Array(1);
  const shape = new BigInt64Array(2);
  const value = (address: number, rows: number, columns: number): Address => {
    shape[0] = BigInt(rows);
    shape[1] = BigInt(columns);
    return made(createTensor(info, base + BigInt(address), 4 * rows * columns, shape, 2, FLOAT, out));
  };

  return {
    name: 'onnxruntime',
    run(views, params) {
      const [A, B, bias, C] = views as [number, number, number, number];
      const [m, n, k, transA, transB, accumulate] = params as [number, number, number, number, number, number];
      if (bias && accumulate) return false;
      const addend = bias || accumulate;
      values.fill(0n);
      results.fill(0n);
      try {
        values[0] = transA ? value(A, k, m) : value(A, m, k);
        values[1] = transB ? value(B, n, k) : value(B, k, n);
        if (addend) values[2] = bias ? value(bias, 1, n) : value(C, m, n);
        results[0] = value(C, m, n);
        const inputs = addend ? 3 : 2;
        const chosen = session(!!transA, !!transB, !!addend);
        check(run(chosen, null, inputNames.pointers, values, inputs, outputNames.pointers, 1, results));
      } finally {
        for (const made of [...values, ...results]) if (made) releaseValue(made);
      }
      return true;
    },
    close() {
      // Named here so that the library stays loaded until now: koffi unloads what is no longer referred to.
      void onnxruntime;
      for (const handle of sessions.values()) releaseSession(handle);
      sessions.clear();
      bound(PLACE.releaseSessionOptions, 'void (void *options)')(options);
      bound(PLACE.releaseMemoryInfo, 'void (void *info)')(info);
      bound(PLACE.releaseEnv, 'void (void *env)')(env);
    },
  };
}
