/** The page's side of the golden suite: what the test calls in it. */
import { messageOf } from '../../src/errors.ts';
import { openWasm } from '../../src/kernels/wasm/open-browser.ts';
import type { Message, Task } from './golden-worker.ts';

declare global {
  /** Given by the test. */
  var receive: (message: Message) => void;
  /** Runs golden cases in a worker, passing on what it says; resolves at its last word. */
  var runGolden: (task: Task) => Promise<void>;
  /** What the wasm device says when it is opened in the page itself; null when it opens. */
  var openInPage: (url: string) => Promise<string | null>;
}

globalThis.runGolden = (task) =>
  new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./golden-worker.ts', import.meta.url), { type: 'module' });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data: message }: MessageEvent<Message>) => {
      receive(message);
      if (!('error' in message || 'done' in message)) return;
      worker.terminate();
      resolve();
    };
    worker.postMessage(task);
  });

globalThis.openInPage = (url) => openWasm({ url, threads: 1 }).then(() => null, messageOf);
