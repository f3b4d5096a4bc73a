import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applyConfig, readConfig } from '../../src/cli/config-file.ts';
import { start } from './spawn.ts';

let folder = '';
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'lamina-config-'))));
afterAll(() => rm(folder, { recursive: true }));

function command(name: string): Command {
  const whole = (text: string) => {
    if (!/^\d+$/.test(text)) throw new InvalidArgumentError('It must be a whole number.');
    return Number(text);
  };
  return new Command(name)
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .requiredOption('--out <folder>', 'where')
    .addOption(new Option('--patch-size <px>').argParser(whole).default(256).env('TEST_PATCH_SIZE'))
    .addOption(new Option('--device <kind>').choices(['auto', 'wasm']).default('auto'))
    .option('--fail-fast', 'x')
    .option('--no-keep-bags', 'x')
    .action(() => {});
}

async function parsed(text: string, args: string[] = []) {
  const path = join(folder, 'some.yaml');
  await writeFile(path, text);
  const run = command('run');
  const others = async () => [command('run'), new Command('view').option('--port <n>', 'x')];
  await applyConfig(run, (await readConfig(path))!, others);
  await run.parseAsync(args, { from: 'user' });
  return run.opts();
}

describe('a file of options', () => {
  it('goes over the defaults, under the environment, and under the flags', async () => {
    const file = 'out: here\npatch-size: 512\n';
    expect(await parsed(file)).toMatchObject({ out: 'here', patchSize: 512, device: 'auto' });
    process.env.TEST_PATCH_SIZE = '1024';
    try {
      expect(await parsed(file)).toMatchObject({ patchSize: 1024 });
      expect(await parsed(file, ['--patch-size', '128'])).toMatchObject({ patchSize: 128 });
    } finally {
      delete process.env.TEST_PATCH_SIZE;
    }
  });

  it('may be JSON, have sections, names of either kind, and options of other commands', async () => {
    const file =
      '{"out": "all", "port": 1, "run": {"out": "mine", "patchSize": 64, "failFast": true, "no-keep-bags": true}}';
    expect(await parsed(file)).toMatchObject({ out: 'mine', patchSize: 64, failFast: true, keepBags: false });
  });

  it.each([
    ['out: x\npatchsize: 3', /some\.yaml: there is no option patchsize\./],
    ['out: x\nrun:\n  port: 3', /no option run\.port\./],
    ['out: x\npatch-size: 2.5', /patch-size: 2\.5 is not allowed\. It must be a whole number\./],
    ['out: x\ndevice: cuda', /device: cuda is not allowed\. Choose one of auto, wasm\./],
    ['out: x\nfail-fast: 3', /true or false/],
    ['out: [1]', /a text or a number/],
    ['- out', /no list of options/],
    ['out: "x', /some\.yaml: /],
  ])('%j is refused', async (text, sentence) => {
    await expect(parsed(text)).rejects.toThrow(sentence);
  });

  it('is found beside the work, or named', async () => {
    await writeFile(join(folder, 'lamina.config.yaml'), 'patch-size: much\n');
    const found = await start(['tile', 'a.tif', '--out', 'x'], { cwd: folder }).ended;
    expect(found).toMatchObject({ code: 1, stdout: '' });
    expect(found.stderr).toMatch(
      /^lamina: lamina\.config\.yaml: patch-size: much is not allowed\. It must be a number above 0\..*\n$/,
    );
    await writeFile(join(folder, 'other.json'), '{"out": "y"}');
    const named = await start(['tile', 'gone.tif', '--config', 'other.json'], { cwd: folder }).ended;
    expect(named.code).toBe(1);
    expect(named.stderr).toMatch(/gone\.tif/);
  });
});
