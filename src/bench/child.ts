/** Programs run to their end for the lines of JSON that they print. */
import { spawn } from 'node:child_process';

export interface ChildOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Ends the program too. */
  readonly signal?: AbortSignal | undefined;
}

/** The last line. @throws Error with the end of what the program said on stderr when it fails. */
export async function lastJson<T>(program: string, args: readonly string[], options: ChildOptions = {}): Promise<T> {
  const [last] = await lastJsons<T>(program, args, 1, options);
  return last!;
}

/** The last `count` lines. Errors as `lastJson`. */
export function lastJsons<T>(
  program: string,
  args: readonly string[],
  count: number,
  options: ChildOptions = {},
): Promise<T[]> {
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
        const lines = out.trim().split('\n').slice(-count);
        resolve(lines.map((line) => JSON.parse(line) as T));
      } catch (cause) {
        const said = err.trim().slice(-2000);
        reject(new Error(`${program} ${args.join(' ')}: ${(cause as Error).message}\n${said}`, { cause }));
      }
    });
  });
}
