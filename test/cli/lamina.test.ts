import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { lamina } from './spawn.ts';

const COMMANDS = [
  'info',
  'tile',
  'extract',
  'convert',
  'run',
  'explain',
  'evaluate',
  'orders',
  'view',
  'demo',
  'doctor',
  'bench',
];

describe('lamina', () => {
  it('says its version, the one of package.json', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(await lamina('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('lists its commands and exit codes', async () => {
    const { code, stdout } = await lamina('--help');
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(stdout).toContain(`  ${command} `);
    expect(stdout).toContain('130 interrupted');
  });

  it.each(COMMANDS)('explains %s', async (command) => {
    const { code, stdout, stderr } = await lamina(command, '--help');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain(`Usage: lamina ${command}`);
    expect(stdout).toContain('--json');
  });

  it.each([
    ['a misspelt command', ['infoo'], 'Did you mean info?'],
    ['a misspelt option', ['info', 'a.svs', '--jsonn'], 'Did you mean --json?'],
    ['a missing argument', ['info'], "missing required argument 'slide'"],
    ['a missing option', ['run', 'a.svs', '--out', 'x'], "required option '--model <folder>'"],
    ['a number that is none', ['tile', 'a.svs', '--out', 'x', '--patch-size', '2.5'], 'It must be a whole number.'],
    [
      'a device that is none',
      ['run', 'a', '--model', 'm', '--out', 'x', '--device', 'cuda'],
      'auto, webgpu, webgpu-f16, wasm',
    ],
  ])('refuses %s as wrong usage', async (_, args, sentence) => {
    const { code, stdout, stderr } = await lamina(...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(sentence);
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

describe('lamina doctor', () => {
  it('finds what a tested machine must have', async () => {
    const { code, stdout } = await lamina('doctor', '--json');
    const { checks } = JSON.parse(stdout) as { checks: { name: string; verdict: string; advice: string | null }[] };
    expect(checks.filter(({ verdict }) => verdict === 'missing')).toEqual([]);
    expect(code).toBe(0);
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['Node', 'JPEG codec', 'WebGPU', 'libopenslide']),
    );
    for (const { verdict, advice } of checks) if (verdict !== 'ok') expect(advice).toMatch(/\.$/);
  });
});
