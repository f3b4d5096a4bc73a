/** `lamina explain`: why the model of a run said what it said, patch by patch. */
import { resolve } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { type ExplanationKind, explanationKinds } from '../mil/explain.ts';
import { type ExplainedRun, type ExplainedSlide, explainRun } from '../run/explain-run.ts';
import { DONE, FAILED, SOME_FAILED } from './exit.ts';
import { interruptSignal } from './interrupt.ts';
import { addDeviceOptions, type DeviceFlags } from './options.ts';
import { printJson, printLine, printTable } from './print.ts';

interface Flags extends DeviceFlags {
  readonly model: string;
  readonly kinds?: readonly ExplanationKind[];
  readonly slide: readonly string[];
  readonly faithfulness: number;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  addDeviceOptions(command)
    .argument('<run>', 'folder that `lamina run --out` wrote')
    .requiredOption('--model <folder>', 'the model that the run was made with')
    .option(
      '--kinds <names>',
      `of ${explanationKinds.join(', ')}, with commas (default: all that the model has)`,
      parseKinds,
    )
    .option('--slide <id>', 'only this slide; once for each', gather, [])
    .option('--faithfulness <n>', 'measure deletion and insertion on so many slides, 0 for none', parseNumber, 20)
    .option('--json', 'print one JSON object')
    .action(async (run: string) => {
      const {
        model,
        kinds = null,
        slide,
        faithfulness,
        device,
        threads = null,
        json,
      } = command.optsWithGlobals<Flags>();
      const explained = await explainRun(resolve(run), {
        model,
        kinds,
        slides: slide,
        measured: faithfulness,
        device,
        threads,
        signal: interruptSignal(),
        onSlide: (outcome, done, total) => void process.stderr.write(`${done + 1}/${total} ${sentence(outcome)}\n`),
      });
      const { slides, faithfulness: measured, unmeasured } = explained;
      if (json) printJson({ run: resolve(run), slides: slides.map(plain), faithfulness: measured, unmeasured });
      else print(explained);
      const failed = slides.filter(({ problem }) => problem).length;
      process.exitCode = failed === 0 ? DONE : failed === slides.length ? FAILED : SOME_FAILED;
    });
}

/** Difference of two scores of faithfulness that is worth a word. */
const NOTABLE = 0.1;

function gather(id: string, before: readonly string[]): readonly string[] {
  return [...before, id];
}

function parseKinds(text: string): ExplanationKind[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !(explanationKinds as readonly string[]).includes(name));
  if (wrong !== undefined)
    throw new InvalidArgumentError(`There is no "${wrong}"; take of ${explanationKinds.join(', ')}.`);
  return names as ExplanationKind[];
}

function parseNumber(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new InvalidArgumentError('It must be a whole number.');
  return value;
}

function sentence({ id, columns, problem }: ExplainedSlide): string {
  return problem ? `${id}: not explained. ${problem.message}` : `${id}: ${columns.join(', ')}`;
}

function plain({ id, columns, problem }: ExplainedSlide) {
  return { id, columns, problem: problem && { code: problem.code, message: problem.problem, hint: problem.hint } };
}

function print({ slides, faithfulness, unmeasured }: ExplainedRun): void {
  const explained = slides.filter(({ problem }) => !problem).length;
  printLine(`${explained} of ${slides.length} slides explained; the viewer offers the scores as heatmaps.`);
  if (unmeasured) printLine(unmeasured);
  if (!faithfulness) return;
  const { columns, baseline } = faithfulness;
  const text = (value: number) => value.toFixed(3);
  printTable([
    ...columns.map(({ name, deletion, insertion, score }) => ({
      score: name,
      deletion: text(deletion),
      insertion: text(insertion),
      difference: text(score),
    })),
    {
      score: 'random order',
      deletion: text(baseline.deletion),
      insertion: text(baseline.insertion),
      difference: text(baseline.insertion - baseline.deletion),
    },
  ]);
  const best = columns.reduce((a, b) => (b.score > a.score ? b : a));
  const attention = columns.find(({ name }) => name === 'attention');
  if (attention && best.score - attention.score > NOTABLE) {
    printLine(`Attention says less about these predictions than ${best.name} does: look at that one in the viewer.`);
  }
}
