/**
 * Waiting for the GPU in Node without taking a core for it. While something is awaited, Dawn's binding asks the driver in
 * every turn of the event loop and lets no turn rest: a core that decoding, or a software adapter, could use. So while we
 * wait, each turn sleeps for an eighth of the wait so far, at most a millisecond; everything else still gets its turns.
 */
const LONGEST_MS = 1;
/** Waits shorter than this are not slept in. */
const PATIENCE_MS = 0.5;

const never = new Int32Array(new SharedArrayBuffer(4));
let waits = 0;
let since = 0;
let resting = false;

/** What `work` comes to; the thread sleeps a little in each turn of the event loop until then. */
export async function restDuring<T>(work: Promise<T>): Promise<T> {
  waits++;
  since = performance.now();
  if (!resting) {
    resting = true;
    setImmediate(rest);
  }
  try {
    return await work;
  } finally {
    waits--;
  }
}

function rest(): void {
  resting = waits > 0;
  if (!resting) return;
  const waited = performance.now() - since;
  if (waited > PATIENCE_MS) Atomics.wait(never, 0, 0, Math.min(LONGEST_MS, waited / 8));
  setImmediate(rest);
}
