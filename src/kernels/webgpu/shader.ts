/**
 * A shader file and its specialisation.
 *
 * Every file under `wgsl/` is complete WGSL with a `struct Args`, its bindings and `const` lines with default values.
 * Before compiling, a dispatch rewrites five things: `const` values (sizes of arrays, `has_<view>` flags), bindings of
 * absent views (they become a one-element private array that dead code may mention), views that share a buffer with
 * something written (WebGPU forbids to bind a buffer twice then; they become one binding), views stored as f16 (reads
 * widen, writes narrow), and `//! import` lines.
 */

export interface BufferDeclaration {
  readonly name: string;
  readonly written: boolean;
  /** `f32`, `i32`, `vec4f`. */
  readonly element: string;
  readonly line: string;
}

export interface ArgDeclaration {
  readonly name: string;
  readonly type: 'u32' | 'i32' | 'f32';
}

export interface Shader {
  readonly name: string;
  readonly text: string;
  readonly buffers: readonly BufferDeclaration[];
  readonly args: readonly ArgDeclaration[];
  readonly constants: ReadonlySet<string>;
}

export type Constants = Readonly<Record<string, number | boolean>>;

export function parseShader(name: string, sources: Readonly<Record<string, string>>): Shader {
  const whole = source(name, sources).replace(/^\/\/! import (\w+)$/gm, (_, part: string) => source(part, sources));
  // `enable` lines must come first.
  const enables = whole.match(/^enable \w+;$/gm) ?? [];
  const text = [...enables, whole.replace(/^enable \w+;$/gm, '')].join('\n');
  const struct = /struct Args \{([^}]*)\}/.exec(text)?.[1];
  if (struct === undefined) throw new Error(`${name}.wgsl has no struct Args`);
  return {
    name,
    text,
    args: [...struct.matchAll(/(\w+): (u32|i32|f32)/g)].map((m) => ({
      name: m[1]!,
      type: m[2] as ArgDeclaration['type'],
    })),
    buffers: [
      ...text.matchAll(/^@group\(0\) @binding\(\d+\) var<storage, (read|read_write)> (\w+): array<([\w<>]+)>;$/gm),
    ].map((m) => ({ name: m[2]!, written: m[1] === 'read_write', element: m[3]!, line: m[0] })),
    constants: new Set([...text.matchAll(/^const (\w+): \w+ = /gm)].map((m) => m[1]!)),
  };
}

/**
 * WGSL of a shader for one combination of constants and views.
 * @param owner for each view name: the view whose binding it uses (itself, usually), or null when absent.
 * @param halves names of the views whose elements are f16.
 */
export function specialise(
  shader: Shader,
  constants: Constants,
  owner: ReadonlyMap<string, string | null>,
  halves: ReadonlySet<string>,
): string {
  let text = shader.text;
  for (const [name, value] of Object.entries(constants)) {
    if (!shader.constants.has(name)) throw new Error(`${shader.name}.wgsl has no const ${name}`);
    text = text.replace(new RegExp(`^(const ${name}: \\w+ = )[^;]*;`, 'm'), `$1${value};`);
  }
  let binding = 0;
  for (const buffer of shader.buffers) {
    const { name, element, line } = buffer;
    const to = owner.get(name) ?? null;
    text = text.replace(
      new RegExp(`^(const has_${name}: bool = )[^;]*;`, 'm'),
      (_, head: string) => `${head}${to !== null};`,
    );
    const half = halves.has(name);
    if (half) text = narrowed(text, shader.name, name);
    if (to === null) text = text.replace(line, `var<private> ${name}: array<${element}, 1>;`);
    else if (to !== name) text = text.replace(line, '').replace(new RegExp(`(?<![\\w.])${name}\\[`, 'g'), `${to}[`);
    else {
      const written = shader.buffers.some((b) => b.written && owner.get(b.name) === name);
      const access = written ? 'read_write' : 'read';
      const stored = half ? 'f16' : element;
      text = text.replace(line, `@group(0) @binding(${++binding}) var<storage, ${access}> ${name}: array<${stored}>;`);
    }
  }
  return halves.size ? `enable f16;\n${text}\n${NARROW}` : text;
}

/** Beyond the largest f16 is the largest f16, not infinity. */
const NARROW = 'fn narrow(x: f32) -> f16 { return f16(clamp(x, -65504.0, 65504.0)); }\n';

/** The elements of an array as f16 in memory and f32 everywhere else. From the last mention to the first, so that places stay true. */
function narrowed(text: string, shader: string, name: string): string {
  const mentions = [...text.matchAll(new RegExp(`(?<![\\w.])${name}\\[`, 'g'))].reverse();
  return mentions.reduce((rewritten, { index }) => {
    const end = afterBrackets(rewritten, index + name.length);
    const element = rewritten.slice(index, end);
    const assignment = /^ (\S*)= ([^;=][^;]*);/.exec(rewritten.slice(end));
    if (!assignment) return `${rewritten.slice(0, index)}f32(${element})${rewritten.slice(end)}`;
    const [whole, operator, value] = assignment;
    if (operator) throw new Error(`${shader}.wgsl: ${element} ${operator}= cannot be f16`);
    return `${rewritten.slice(0, index)}${element} = narrow(${value});${rewritten.slice(end + whole.length)}`;
  }, text);
}

/** @param at of the opening bracket. @returns where the text goes on after its closing one. */
function afterBrackets(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    if (text[i] === '[') depth++;
    else if (text[i] === ']' && --depth === 0) return i + 1;
  }
  throw new Error(`no ] after ${text.slice(at, at + 40)}`);
}

function source(name: string, sources: Readonly<Record<string, string>>): string {
  const text = sources[name];
  if (text === undefined) throw new Error(`no shader ${name}.wgsl`);
  return text;
}
