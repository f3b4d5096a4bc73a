import { describe, expect, it } from 'vitest';
import { lamina } from '../cli/spawn.ts';
import { channelMeans, networkFolder } from '../features/encoders/tiny-networks.ts';
import { expectResults } from './results.ts';

const { write, folder } = await networkFolder();

describe('lamina bench encoders', () => {
  it('checks and measures the built-in encoder and a network', async () => {
    const { writeFile } = await import('node:fs/promises');
    const path = await write('tiny.onnx', channelMeans());
    await writeFile(`${folder}/encoder.json`, JSON.stringify({ size: 32 }));
    const { code, stdout } = await lamina(
      'bench',
      'encoders',
      '--quick',
      '--json',
      '--encoder',
      path,
      '--threads',
      '1',
    );
    expect(code).toBe(0);
    const names = expectResults(JSON.parse(stdout).results);
    expect(names).toContain('stain-texture, 224 px, one core');
    expect(names).toContain('tiny in ONNX, cpu, against its own loop');
  });

  it('says that no network was named', async () => {
    const { code, stderr } = await lamina('bench', 'encoders', '--quick', '--json');
    expect(code).toBe(0);
    expect(stderr).toContain('onnxruntime is not measured');
  });
});
