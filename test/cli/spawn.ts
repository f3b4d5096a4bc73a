/** Runs the built command line as a person would. */
import { type ChildProcess, spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { resolve } from 'node:path';

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly process: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Waits until stdout or stderr has the text; fails when the process ends without it. */
  until(text: RegExp): Promise<RegExpExecArray>;
}

const PROGRAM = resolve('dist/src/cli/lamina.js');

export function start(args: readonly string[], options: { cwd?: string; env?: Record<string, string> } = {}): Started {
  const env = { ...process.env, NO_COLOR: '1', ...options.env };
  const child = spawn(process.execPath, [PROGRAM, ...args], {
    cwd: options.cwd,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let hear = () => {};
  child.stdout.setEncoding('utf8').on('data', (text) => {
    stdout += text;
    hear();
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    stderr += text;
    hear();
  });
  const ended = new Promise<Ended>((done) => child.once('close', (code) => done({ code, stdout, stderr })));
  return {
    process: child,
    ended,
    until: (text) =>
      new Promise((found, lost) => {
        hear = () => {
          const match = text.exec(stdout) ?? text.exec(stderr);
          if (match) found(match);
        };
        hear();
        void ended.then(() => lost(new Error(`ended without ${text}:\n${stdout}\n${stderr}`)));
      }),
  };
}

export function lamina(...args: string[]): Promise<Ended> {
  return start(args).ended;
}

/** Every file and folder below, relative and sorted. */
export async function tree(folder: string): Promise<string[]> {
  return (await readdir(folder, { recursive: true })).sort();
}
