/**
 * `lamina.config.json` or `.yaml`: options by their long names, for all commands or, under a command's name, for that one.
 *
 *     device: wasm
 *     run:
 *       model: models/prostate
 *       no-keep-bags: true
 *
 * Flags go over the environment, the environment over this file, this file over the defaults.
 */
import { access, readFile } from 'node:fs/promises';
import type { Command, Option } from 'commander';
import { parse } from 'yaml';
import { messageOf, UserError } from '../errors.ts';

const NAMES = ['lamina.config.json', 'lamina.config.yaml', 'lamina.config.yml'];

type Values = Readonly<Record<string, unknown>>;

/** What the file says; null if there is none. @param named what `--config` names. @throws UserError `bad-config` */
export async function readConfig(named: string | null): Promise<{ path: string; values: Values } | null> {
  const path = named ?? (await firstThere(NAMES));
  if (path === null) return null;
  try {
    // JSON is YAML.
    const values = parse(await readFile(path, 'utf8')) ?? {};
    if (typeof values !== 'object' || Array.isArray(values)) throw new Error('it is no list of options');
    return { path, values };
  } catch (error) {
    throw bad(path, messageOf(error).split('\n')[0]!, 'Correct it, or name another file with --config.');
  }
}

async function firstThere(names: readonly string[]): Promise<string | null> {
  for (const name of names) {
    const there = await access(name).then(
      () => true,
      () => false,
    );
    if (there) return name;
  }
  return null;
}

/**
 * Gives a command the values of the file, before the command line is read.
 *
 * @param others loads the other commands, to see whether an option is one of theirs.
 * @throws UserError `bad-config` naming the file and the option.
 */
export async function applyConfig(
  command: Command,
  { path, values }: { path: string; values: Values },
  others: () => Promise<readonly Command[]>,
): Promise<void> {
  const all = await others();
  const isCommand = (name: string) => all.some((other) => other.name() === name);
  for (const [name, value] of Object.entries(values)) {
    if (isCommand(name)) continue;
    const option = find(command, name);
    if (option) set(command, option, path, name, value);
    else if (!all.some((other) => find(other, name))) throw unknown(path, name);
  }
  const own = values[command.name()] ?? {};
  if (typeof own !== 'object')
    throw bad(path, `${command.name()} is no list of options`, 'Indent its options below it.');
  for (const [name, value] of Object.entries(own as Values)) {
    const option = find(command, name);
    if (!option) throw unknown(path, `${command.name()}.${name}`);
    set(command, option, path, `${command.name()}.${name}`, value);
  }
}

/** `patch-size`, `patchSize`; `no-keep-bags`. */
function find(command: Command, name: string): Option | undefined {
  const long = name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  const positive = (option: Option) => option.name().replace(/^no-/, '');
  return (
    command.options.find((option) => option.name() === long) ??
    command.options.find((option) => option.negate && positive(option) === long)
  );
}

function set(command: Command, option: Option, path: string, name: string, value: unknown): void {
  command.setOptionValueWithSource(option.attributeName(), checked(option, path, name, value), 'config');
}

function checked(option: Option, path: string, name: string, value: unknown): unknown {
  const wrong = (why: string) => bad(path, `${name}: ${value} is not allowed. ${why}`, 'Correct it.');
  if (option.isBoolean() || option.negate) {
    if (typeof value !== 'boolean') throw wrong('It must be true or false.');
    return option.negate && /(^|\.)no-/.test(name) ? !value : value;
  }
  if (typeof value !== 'string' && typeof value !== 'number') throw wrong('It must be a text or a number.');
  const text = String(value);
  if (option.argChoices && !option.argChoices.includes(text))
    throw wrong(`Choose one of ${option.argChoices.join(', ')}.`);
  try {
    return option.parseArg && !option.argChoices ? option.parseArg(text, undefined) : text;
  } catch (error) {
    throw wrong(messageOf(error));
  }
}

function unknown(path: string, name: string): UserError {
  return bad(path, `there is no option ${name}`, 'See the options with --help.');
}

function bad(path: string, why: string, hint: string): UserError {
  return new UserError('bad-config', `${path}: ${why.replace(/\.$/, '')}.`, hint);
}
