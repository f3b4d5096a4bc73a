import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, statfs, symlink, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest';
import { onnxModel } from '../../../bench/onnx/writer.ts';
import { fetchFromHub, type HubOptions } from '../../../src/features/encoders/hub.ts';
import { locate } from '../../../src/features/encoders/locate.ts';
import { channelMeans, featureMap } from './tiny-networks.ts';

const WEIGHTS = Buffer.from(Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7919) % 251));
const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | undefined;
  readonly token: string | undefined;
}

/** A server of files as the hub is one: large ones lie elsewhere, their sum is in the answer that sends there. */
class TestHub {
  readonly asked: Asked[] = [];
  readonly files = new Map<string, Buffer>();
  /** What happens to the next answers with content: bytes after which the connection breaks. */
  readonly breaks: number[] = [];
  status: number | null = null;
  knowsRanges = true;
  sum: string | null = null;
  #server: Server;

  constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  async listen(): Promise<string> {
    await new Promise<void>((done) => this.#server.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Of the requests for content. */
  ranges(): string[] {
    return this.asked.flatMap(({ path, range }) => (path.startsWith('/store') && range) || []);
  }

  close(): Promise<void> {
    this.#server.closeAllConnections();
    return new Promise((done) => this.#server.close(() => done()));
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { method = '', url: path = '', headers } = request;
    this.asked.push({ method, path, range: headers.range, token: headers.authorization });
    if (this.status !== null) return void response.writeHead(this.status).end();
    if (path.startsWith('/old/'))
      return void response.writeHead(307, { location: path.replace('/old/', '/lab/') }).end();
    const stored = path.startsWith('/store/');
    const content = this.files.get(stored ? path.slice('/store'.length) : path);
    if (!content) return void response.writeHead(404).end();
    if (!stored) {
      const sum = this.sum ?? sha256(content);
      const linked = {
        location: `/store${path}`,
        'x-linked-etag': `"${sum}"`,
        'x-linked-size': String(content.length),
      };
      return void response.writeHead(302, linked).end();
    }
    const from = this.knowsRanges ? Number(/bytes=(\d+)-/.exec(headers.range ?? '')?.[1] ?? 0) : 0;
    if (from >= content.length) return void response.writeHead(416).end();
    response.writeHead(from > 0 ? 206 : 200, { 'content-length': content.length - from });
    const end = this.breaks.shift();
    if (end === undefined) return void response.end(content.subarray(from));
    response.write(content.subarray(from, from + end), () => setTimeout(() => response.destroy(), 20));
  }
}

let hub: TestHub;
let cache: string;
let options: HubOptions;
beforeEach(async () => {
  hub = new TestHub();
  cache = await mkdtemp(join(tmpdir(), 'lamina-hub-'));
  options = { cache, endpoint: await hub.listen(), patience: 1 };
  hub.files.set('/lab/net/resolve/main/model.onnx', WEIGHTS);
});
afterEach(async () => {
  await hub.close();
  await rm(cache, { recursive: true });
});

const folder = () => join(cache, 'hf/lab/net');
const get = (file = 'model.onnx', changed: Partial<HubOptions> = {}) =>
  fetchFromHub('lab/net', file, { ...options, ...changed });

describe('a file of a repository', () => {
  it('comes whole, and is asked for only once', async () => {
    const path = await get();
    expect(sha256(await readFile(path!))).toBe(sha256(WEIGHTS));
    const before = hub.asked.length;
    expect(await get()).toBe(path);
    expect(hub.asked.slice(before).map(({ method }) => method)).toEqual(['HEAD']);
    expect((await readdir(folder())).sort()).toEqual(['model.onnx', 'model.onnx.tag']);
  });

  it('goes on where the connection broke, however often, as long as each try brings something', async () => {
    hub.breaks.push(50_000, 1, 100_000, 7, 11, 13, 17, 19);
    expect(sha256(await readFile((await get())!))).toBe(sha256(WEIGHTS));
    // What was sent last before a break may be lost with it, and is then asked for again.
    const starts = hub.ranges().map((range) => Number(/^bytes=(\d+)-$/.exec(range)![1]));
    expect(starts[0]).toBe(50_000);
    expect(starts[2]).toBeGreaterThanOrEqual(150_000);
    expect(starts).toEqual(starts.toSorted((a, b) => a - b));
    expect(starts).toHaveLength(8);
  });

  it('goes on in another run', async () => {
    hub.breaks.push(120_000, 0, 0, 0, 0, 0);
    await expect(get()).rejects.toMatchObject({ code: 'download-failed' });
    hub.breaks.length = 0;
    hub.asked.length = 0;
    expect(sha256(await readFile((await get())!))).toBe(sha256(WEIGHTS));
    expect(hub.ranges()).toEqual(['bytes=120000-']);
  });

  it('does not mix the beginning of one version with the end of another', async () => {
    hub.breaks.push(120_000, 0, 0, 0, 0, 0);
    await get().catch(() => {});
    hub.breaks.length = 0;
    const other = Buffer.from(WEIGHTS.map((byte) => 255 - byte));
    hub.files.set('/lab/net/resolve/main/model.onnx', other);
    expect(sha256(await readFile((await get())!))).toBe(sha256(other));
  });

  it('comes from the beginning from a server that knows no ranges', async () => {
    hub.knowsRanges = false;
    hub.breaks.push(50_000);
    expect(sha256(await readFile((await get())!))).toBe(sha256(WEIGHTS));
  });

  it('is fetched anew when it has changed', async () => {
    await get();
    const other = Buffer.from('other weights');
    hub.files.set('/lab/net/resolve/main/model.onnx', other);
    expect(sha256(await readFile((await get())!))).toBe(sha256(other));
  });

  it('is sent once to several that want it at the same time, and all hear how far it is', async () => {
    // The first try is broken off, and the next one comes so late that the others have looked by then.
    hub.breaks.push(100_000);
    const heard = [0, 1, 2].map(() => [] as number[]);
    const paths = await Promise.all(
      heard.map((bytes) => get('model.onnx', { patience: 1500, onProgress: (_, have) => bytes.push(have) })),
    );
    expect(new Set(paths)).toEqual(new Set([join(folder(), 'model.onnx')]));
    expect(sha256(await readFile(paths[0]!))).toBe(sha256(WEIGHTS));
    expect(hub.asked.filter(({ path }) => path.startsWith('/store'))).toHaveLength(2);
    for (const bytes of heard) expect([bytes.length > 1, bytes.at(-1)]).toEqual([true, WEIGHTS.length]);
    expect((await readdir(folder())).sort()).toEqual(['model.onnx', 'model.onnx.tag']);
  });

  it('of a repository that was renamed comes from where it is now, checked as well', async () => {
    expect(sha256(await readFile((await fetchFromHub('old/net', 'model.onnx', options))!))).toBe(sha256(WEIGHTS));
    hub.sum = sha256(Buffer.from('something else'));
    await expect(fetchFromHub('old/net', 'model.onnx', options)).rejects.toMatchObject({ code: 'download-checksum' });
  });

  it('with the wrong sum is thrown away', async () => {
    hub.sum = sha256(Buffer.from('something else'));
    await expect(get()).rejects.toMatchObject({
      code: 'download-checksum',
      problem: expect.stringContaining('model.onnx'),
    });
    expect(await readdir(folder())).toEqual([]);
    hub.sum = null;
    expect(sha256(await readFile((await get())!))).toBe(sha256(WEIGHTS));
  });

  it('of a small kind is checked by the sum of git', async () => {
    hub.sum = createHash('sha1').update(`blob ${WEIGHTS.length}\0`).update(WEIGHTS).digest('hex');
    expect(sha256(await readFile((await get())!))).toBe(sha256(WEIGHTS));
    await rm(folder(), { recursive: true });
    hub.sum = '0'.repeat(40);
    await expect(get()).rejects.toMatchObject({ code: 'download-checksum' });
  });

  it.each([401, 403])('behind a licence (%i) says where to accept it', async (status) => {
    hub.status = status;
    await expect(get()).rejects.toMatchObject({
      code: 'licence-needed',
      hint: expect.stringMatching(/Accept the licence at https:\/\/huggingface\.co\/lab\/net, .*HF_TOKEN/),
    });
    await expect(get('model.onnx', { token: 'hf_abc' })).rejects.toMatchObject({
      hint: expect.stringContaining('the account of HF_TOKEN'),
    });
    expect(hub.asked.at(-1)!.token).toBe('Bearer hf_abc');
  });

  it('that is not there is null; a server that is broken is an error', async () => {
    expect(await get('nothing.onnx')).toBeNull();
    hub.status = 503;
    await expect(get()).rejects.toMatchObject({ code: 'download-failed', problem: expect.stringContaining('503') });
  });

  it('that does not fit on the disk says so, and where else it could go', async () => {
    await mkdir(folder(), { recursive: true });
    const part = `model.onnx.${sha256(Buffer.from(sha256(WEIGHTS))).slice(0, 8)}.part`;
    // A device that is always full.
    await symlink('/dev/full', join(folder(), part));
    await expect(get()).rejects.toMatchObject({ code: 'disk-full', hint: expect.stringContaining('LAMINA_CACHE') });
  });

  const small = spawnSync('sh', ['-c', 'd=$(mktemp -d) && mount -t tmpfs -o size=1m tmpfs "$d" && echo "$d"']);
  const disk = small.status === 0 ? small.stdout.toString().trim() : null;
  afterAll(() => void (disk && spawnSync('sh', ['-c', 'umount "$0" && rmdir "$0"', disk])));

  it.skipIf(!disk)(
    'of which the disk takes all but the last piece says so (skipped without rights to mount)',
    async () => {
      await mkdir(join(disk!, 'hf/lab/net'), { recursive: true });
      const { bavail, bsize } = await statfs(disk!);
      // Room for the lock and a bit less than the file.
      await writeFile(join(disk!, 'filler'), Buffer.alloc(bavail * bsize - 290_000));
      await expect(get('model.onnx', { cache: disk! })).rejects.toMatchObject({ code: 'disk-full' });
      await rm(join(disk!, 'filler'));
      expect(sha256(await readFile((await get('model.onnx', { cache: disk! }))!))).toBe(sha256(WEIGHTS));
    },
  );

  it.skipIf(process.getuid?.() === 0)('in a folder that may not be written says so (skipped for root)', async () => {
    await chmod(cache, 0o500);
    await expect(get()).rejects.toMatchObject({ code: 'cannot-write' });
    await chmod(cache, 0o700);
  });

  it('ends when told to', async () => {
    hub.breaks.push(10, 10, 10, 10, 10, 10, 10, 10);
    const control = new AbortController();
    const waiting = get('model.onnx', { patience: 60_000, signal: control.signal });
    setTimeout(() => control.abort(new Error('enough')), 100);
    await expect(waiting).rejects.toThrow('enough');
  });
});

describe('an encoder from the hub', () => {
  const put = (path: string, content: Uint8Array | string) =>
    void hub.files.set(`/lab/tiny/resolve/main/${path}`, Buffer.from(content));
  const found = (name: string) => locate(name, { weights: null, hub: options });

  it('is found where repositories keep such files, with its external data and its recipe', async () => {
    const { model, external } = onnxModel(featureMap, 'model.onnx_data');
    put('onnx/model.onnx', model);
    put('onnx/model.onnx_data', external!.bytes);
    put('onnx/encoder.json', JSON.stringify({ size: 32, mpp: 1 }));
    const located = await found('hf:lab/tiny');
    expect(located).toMatchObject({ name: 'tiny', dimension: null, recipe: { size: 32, patchPx: 32, mpp: 1 } });
    expect(await readdir(join(cache, 'hf/lab/tiny/onnx'))).toContain('model.onnx_data');
    expect((await found('hf:lab/tiny/onnx/model.onnx'))!.path).toBe(located!.path);
  });

  it('opens without a connection as it did with one: with its recipe, without one, from the second place', async () => {
    const { model } = onnxModel(channelMeans());
    put('onnx/model.onnx', model);
    put('own/model.onnx', model);
    put('own/encoder.json', JSON.stringify({ size: 32, mpp: 1 }));
    const names = ['hf:lab/tiny', 'hf:lab/tiny/onnx/model.onnx', 'hf:lab/tiny/own/model.onnx'];
    const before = await Promise.all(names.map(found));
    hub.status = 503;
    expect(await Promise.all(names.map(found))).toEqual(before);
    await expect(found('hf:lab/tiny/other.onnx')).rejects.toMatchObject({ code: 'download-failed' });
    await hub.close();
    expect(await Promise.all(names.map(found))).toEqual(before);
    hub = new TestHub();
    await hub.listen();
  });

  it('is not opened with half a new version', async () => {
    const { model, external } = onnxModel(featureMap, 'model.onnx_data');
    put('model.onnx', model);
    put('model.onnx_data', external!.bytes);
    await found('hf:lab/tiny');
    put(
      'model.onnx_data',
      external!.bytes.map((byte) => 255 - byte),
    );
    hub.breaks.push(...Array.from({ length: 9 }, () => 0));
    await expect(found('hf:lab/tiny')).rejects.toMatchObject({ code: 'download-failed' });
  });

  it('can be the weights of a preset', async () => {
    put('uni.onnx', onnxModel(channelMeans()).model);
    const located = await locate('uni', { weights: 'hf:lab/tiny/uni.onnx', hub: options });
    expect(located).toMatchObject({ name: 'uni', dimension: 1024, recipe: { size: 224, patchPx: 256 } });
  });

  it('that is not there, or not an ONNX file, is refused', async () => {
    await expect(found('hf:lab/tiny')).rejects.toMatchObject({
      code: 'no-weights',
      hint: expect.stringContaining('docs/encoders.md'),
    });
    put('model.onnx', 'no such thing');
    await expect(found('hf:lab/tiny')).rejects.toMatchObject({ code: 'not-onnx' });
    for (const name of ['hf:', 'hf:lab', 'hf:lab/../etc', 'hf:lab/tiny/../../x', 'hf:la b/tiny']) {
      await expect(found(name)).rejects.toMatchObject({ code: 'no-weights' });
    }
  });

  it('knows a repository of a preset', async () => {
    hub.files.set('/owkin/phikon/resolve/main/model.onnx', Buffer.from(onnxModel(channelMeans()).model));
    expect(await found('hf:owkin/phikon')).toMatchObject({ name: 'phikon', dimension: 768 });
    // The hub takes a name for the same in small and large letters.
    hub.files.set('/Owkin/Phikon/resolve/main/model.onnx', Buffer.from(onnxModel(channelMeans()).model));
    expect(await found('hf:Owkin/Phikon')).toMatchObject({ name: 'phikon', dimension: 768 });
  });
});

describe('weights on the disk', () => {
  it('are found in a folder, and refused where there is more than one', async () => {
    const here = join(cache, 'my encoder');
    await mkdir(here);
    await expect(locate(here, { weights: null })).rejects.toMatchObject({ code: 'no-weights' });
    await writeFile(join(here, 'model.onnx'), onnxModel(channelMeans()).model);
    expect(await locate(here, { weights: null })).toMatchObject({ name: 'my-encoder' });
    await writeFile(join(here, 'b.onnx'), '');
    expect((await locate(here, { weights: null }))!.path).toBe(join(here, 'model.onnx'));
    await writeFile(join(here, 'a.onnx'), '');
    await rm(join(here, 'model.onnx'));
    await expect(locate(here, { weights: null })).rejects.toMatchObject({
      problem: expect.stringContaining('a.onnx, b.onnx'),
    });
  });

  it.each([
    ['{', /not JSON/],
    ['[]', /not an object/],
    ['{"sice": 224}', /no setting "sice"/],
    ['{"size": "224"}', /size must be/],
    ['{"mean": [0, 1]}', /mean must be/],
    ['{"std": [1, 1, 0]}', /std must be/],
    ['{"tokens": {"pool": "cls+mean", "skip": 0}}', /tokens must be/],
    ['{"tokens": {"pool": "max", "skip": 1}}', /tokens must be/],
    ['{"map": "hwc"}', /map must be nchw or nhwc/],
    ['{"resize": 100}', /less than size/],
    ['{"interpolation": "nearest"}', /interpolation must be/],
  ])('with a recipe of %s are refused', async (text, says) => {
    await writeFile(join(cache, 'net.onnx'), onnxModel(channelMeans()).model);
    await writeFile(join(cache, 'encoder.json'), text);
    await expect(locate(join(cache, 'net.onnx'), { weights: null })).rejects.toMatchObject({
      code: 'bad-recipe',
      problem: expect.stringMatching(says),
    });
  });
});
