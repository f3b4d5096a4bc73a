/** What every device asks of a kernel's arguments before it runs: without, a kernel would read and write where it should not. */
import type { View } from './device.ts';
import { type KernelName, kernels } from './kernels.ts';

interface Expected {
  readonly views: readonly { readonly name: string; readonly optional: boolean }[];
  readonly params: readonly string[];
}

const nameOf = (declared: string) => /\w+/.exec(declared)![0];

/** Read once: devices run hundreds of thousands of kernels a second. */
const expected = Object.fromEntries(
  Object.entries(kernels).map(([kernel, { views, params }]): [string, Expected] => [
    kernel,
    {
      views: views.map((view) => ({ name: nameOf(view), optional: view.endsWith('?') })),
      params: params.map(nameOf),
    },
  ]),
) as Readonly<Record<KernelName, Expected>>;

/** @throws Error that names the view which is missing, was given back or leaves its storage, or says what the kernel takes. */
export function requireArguments(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]): void {
  const wanted = expected[kernel];
  if (views.length !== wanted.views.length || params.length !== wanted.params.length) {
    throw new Error(`kernel ${kernel} takes views (${kernels[kernel].views}) and params (${kernels[kernel].params})`);
  }
  for (let i = 0; i < views.length; i++) {
    const view = views[i];
    const { name, optional } = wanted.views[i]!;
    const wrong = view ? wrongWith(view) : optional ? null : 'is missing';
    if (wrong) throw new Error(`${kernel}: view ${name} ${wrong}`);
  }
}

/** Arguments by the names that the list of kernels gives them. */
export function namedArguments(kernel: KernelName, views: readonly (View | null)[], params: readonly number[]) {
  const names = expected[kernel];
  return {
    views: Object.fromEntries(names.views.map(({ name }, i) => [name, views[i] ?? null])),
    params: Object.fromEntries(names.params.map((name, i) => [name, params[i]!])),
  };
}

/** In words, if the view's storage was given back or the view leaves it. */
export function wrongWith({ storage, offset, length, half }: View): string | null {
  if (storage.released) return 'was released';
  const room = half ? 2 * storage.length : storage.length;
  if (offset >= 0 && offset + length <= room) return null;
  return `is ${offset} to ${offset + length} of ${room} elements`;
}
