#!/usr/bin/env node
/**
 * The command line: finds the command, loads its module, and turns what it throws into a sentence and an exit code.
 *
 * Results go to stdout, everything else to stderr.
 */
import { Command, CommanderError } from 'commander';
import { messageOf, UserError } from '../errors.ts';
import { VERSION } from '../version.ts';
import { applyConfig, readConfig } from './config-file.ts';
import { EXIT, exitCodeOf } from './exit.ts';

interface CommandModule {
  /** Adds arguments, options and the action. */
  configure(command: Command): void;
}

interface CommandEntry {
  readonly summary: string;
  load(): Promise<CommandModule>;
}

/** In the order of the pipeline. A module is loaded only when its command is called, so that `--help` is instant. */
const COMMANDS: Readonly<Record<string, CommandEntry>> = {
  info: { summary: 'show what a slide file holds: format, levels, scale, hash', load: () => import('./info.ts') },
  tile: { summary: 'find the tissue and the grid of patches', load: () => import('./tile.ts') },
  encoders: { summary: 'list the patch encoders and what each wants', load: () => import('./encoders.ts') },
  extract: { summary: 'stream patches through an encoder into bags', load: () => import('./extract.ts') },
  convert: { summary: 'bags between tools, checkpoints between formats', load: () => import('./convert.ts') },
  run: { summary: 'predict slides and draw their heatmaps', load: () => import('./run.ts') },
  explain: { summary: 'say which patches a prediction came from', load: () => import('./explain.ts') },
  evaluate: {
    summary: 'say how good predictions are, with intervals and a report',
    load: () => import('./evaluate.ts'),
  },
  cohort: { summary: 'check a table of slides, or make one for a public data set', load: () => import('./cohort.ts') },
  train: { summary: 'train and cross-validate a model on bags', load: () => import('./train.ts') },
  orders: { summary: 'show which scan orders a search has found', load: () => import('./orders.ts') },
  submit: { summary: 'put slides into a queue, for workers on any machine', load: () => import('./submit.ts') },
  worker: { summary: 'do the slides of a queue', load: () => import('./worker.ts') },
  status: { summary: 'show how far a queue is', load: () => import('./status.ts') },
  view: { summary: 'open a run in the viewer', load: () => import('./view.ts') },
  export: { summary: 'write a run as a folder that any web server shows', load: () => import('./export.ts') },
  user: { summary: 'say who may use a viewer that others reach', load: () => import('./user.ts') },
  demo: { summary: 'make synthetic slides, train on them and show the others', load: () => import('./demo.ts') },
  doctor: { summary: 'check what this machine has and what is missing', load: () => import('./doctor.ts') },
  bench: { summary: 'measure each part, after a check of its results', load: () => import('./bench.ts') },
};

async function main(args: readonly string[]): Promise<number> {
  const program = new Command('lamina')
    .description('Whole slide images to slide predictions and attention heatmaps.')
    .version(VERSION)
    .option('--verbose', 'show stack traces')
    .option('--config <file>', 'options for all commands (default: lamina.config.json or .yaml here)')
    .showSuggestionAfterError()
    .showHelpAfterError('Run with --help to see what is possible.')
    .exitOverride();

  program.addHelpText('after', `\nExit codes: ${EXIT.map(([code, meaning]) => `${code} ${meaning}`).join(', ')}.`);

  const called = args.find((arg) => !arg.startsWith('-') && arg !== 'help');
  try {
    for (const [name, { summary, load }] of Object.entries(COMMANDS)) {
      const command = program.command(name).description(summary);
      if (name !== called) continue;
      (await load()).configure(command);
      if (asksForHelp(args)) continue;
      const config = await readConfig(named(args, '--config'));
      if (config) await applyConfig(command, config, allCommands);
    }
    await program.parseAsync(args, { from: 'user' });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (!(error instanceof CommanderError)) report(error, args.includes('--verbose'));
    return exitCodeOf(error);
  }
}

/** For a file of options that may be meant for other commands. */
async function allCommands(): Promise<Command[]> {
  const entries = Object.entries(COMMANDS).map(async ([name, { load }]) => {
    const command = new Command(name);
    (await load()).configure(command);
    return command;
  });
  return await Promise.all(entries);
}

const asksForHelp = (args: readonly string[]) => args.some((arg) => arg === '--help' || arg === '-h');

/** The value of an option that has to be known before the command line is read. */
function named(args: readonly string[], option: string): string | null {
  const at = args.findIndex((arg) => arg === option || arg.startsWith(`${option}=`));
  if (at < 0) return null;
  return args[at]!.includes('=') ? args[at]!.slice(option.length + 1) : (args[at + 1] ?? null);
}

/** One sentence for what the person can mend; the stack only for faults of the program, or when asked for. */
function report(error: unknown, verbose: boolean): void {
  if (verbose) console.error(error);
  else if (error instanceof UserError) console.error(`lamina: ${error.message}`);
  else if (error instanceof Error && error.name === 'AbortError') console.error('lamina: Interrupted.');
  else
    console.error(`lamina: The program made a mistake: ${messageOf(error)}. Run again with --verbose and report it.`);
}

// Who reads no further (`lamina info | head`) has what was wanted.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});

process.exitCode = await main(process.argv.slice(2));
