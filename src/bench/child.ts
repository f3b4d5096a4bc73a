/** A program run to its end for the one line of JSON that it prints. */
import { spawn } from 'node:child_process';

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the program too. */
  readonly signal?: AbortSignal | undefined;
}

/** @throws Error with the end of what the program said on stderr when it fails. */
export function lastJson<T>(program: string, args: readonly string[], options: ChildOptions = {}): Promise<T> {
  const { env, signal } = options;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      signal,
    });
    let [out, err] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => (out += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (err += text));
    child.once('error', reject);
    child.once('close', (code, ended) => {
      try {
        if (code !== 0) throw new Error(`ended with ${ended ?? code}`);
        resolve(JSON.parse(out.trim().split('\n').at(-1)!) as T);
      } catch (cause) {
        const said = err.trim().slice(-2000);
        reject(new Error(`${program} ${args.join(' ')}: ${(cause as Error).message}\n${said}`, { cause }));
      }
    });
  });
}
