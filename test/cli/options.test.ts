import { Command } from 'commander';
import { describe, expect, it, vi } from 'vitest';
import { applyConfig } from '../../src/cli/config-file.ts';
import { addBatchOptions, addExplainOption, addPatchOptions } from '../../src/cli/options.ts';

/** What a command makes of a config file, the environment and the command line. */
async function options(file: object, environment: Record<string, string>, ...args: string[]) {
  const command = addExplainOption(addBatchOptions(addPatchOptions(new Command('run'))))
    .exitOverride()
    .configureOutput({ writeErr: () => {} })
    .action(() => {});
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  try {
    await applyConfig(command, { path: 'some.json', values: { ...file } }, async () => [command]);
    await command.parseAsync(args, { from: 'user' });
    return command.opts();
  } finally {
    vi.unstubAllEnvs();
  }
}

describe('a switch in the environment', () => {
  it.each([
    ['1', true],
    ['true', true],
    ['0', false],
    ['False', false],
    ['', false],
  ])('%j is %s', async (text, value) => {
    expect(await options({}, { LAMINA_FAIL_FAST: text, LAMINA_EXPLAIN: text })).toMatchObject({
      failFast: value,
      explain: value,
    });
  });

  it('goes over the file and under the flag, either way', async () => {
    expect((await options({ explain: true }, { LAMINA_EXPLAIN: '0' })).explain).toBe(false);
    expect((await options({ explain: false }, { LAMINA_EXPLAIN: '1' })).explain).toBe(true);
    expect((await options({}, { LAMINA_EXPLAIN: '0' }, '--explain')).explain).toBe(true);
  });

  it('that is neither yes nor no is refused', async () => {
    await expect(options({}, { LAMINA_EXPLAIN: 'maybe' })).rejects.toThrow(
      /LAMINA_EXPLAIN is 'maybe'. It must be 1 or 0/,
    );
  });
});

describe('two options that exclude each other', () => {
  it.each<[object, Record<string, string>, string[], object]>([
    [{}, { LAMINA_OVERLAP: '16' }, ['--stride', '64'], { stride: 64, overlap: undefined }],
    [{}, { LAMINA_STRIDE: '64' }, ['--overlap', '0'], { stride: undefined, overlap: 0 }],
    [{ overlap: 16 }, { LAMINA_STRIDE: '64' }, [], { stride: 64, overlap: undefined }],
    [{ overlap: 16 }, {}, ['--stride', '64'], { stride: 64, overlap: undefined }],
    [{}, { LAMINA_FAIL_FAST: '1' }, ['--keep-going'], { keepGoing: true, failFast: undefined }],
    [{ 'fail-fast': true }, {}, ['--keep-going'], { keepGoing: true, failFast: undefined }],
    [{ 'keep-going': true }, { LAMINA_FAIL_FAST: '1' }, [], { keepGoing: undefined, failFast: true }],
    [{ 'keep-going': true }, { LAMINA_FAIL_FAST: '0' }, [], { keepGoing: true, failFast: false }],
  ])('%j, %j and %j give what was said last', async (file, environment, args, wanted) => {
    const found = await options(file, environment, ...args);
    for (const [name, value] of Object.entries(wanted)) expect([name, found[name]]).toEqual([name, value]);
  });

  it.each<[object, Record<string, string>, string[]]>([
    [{}, {}, ['--stride', '64', '--overlap', '16']],
    [{}, { LAMINA_STRIDE: '64', LAMINA_OVERLAP: '16' }, []],
    [{ stride: 64, overlap: 16 }, {}, []],
    [{}, {}, ['--keep-going', '--fail-fast']],
  ])('%j, %j and %j are wrong usage', async (file, environment, args) => {
    await expect(options(file, environment, ...args)).rejects.toThrow(/cannot be used with/);
  });
});
