/** `lamina cohort`: looks a table of slides over, or makes one from the download folder of a public data set. */
import { resolve } from 'node:path';
import { Argument, type Command } from 'commander';
import { type DataSet, dataSetNames, openDataSet } from '../../datasets/data-sets.ts';
import { writeWhole } from '../run/whole-file.ts';
import { readCohort } from '../train/cohort.ts';
import { type CohortSummary, checkCohort } from '../train/cohort-check.ts';
import { DONE, FAILED } from './exit.ts';
import { interruptSignal } from './interrupt.ts';
import { printFacts, printJson, printLine, printTable } from './print.ts';

export function configure(command: Command): void {
  const setArgument = () => new Argument('<set>', 'public data set').choices(dataSetNames);
  command
    .command('check <csv>')
    .description('find leaks, duplicates, unequal classes, missing, tiny and mixed bags, and say what to do')
    .option('--bags <folder>', 'look at the bags as well: a run, or a folder of <slide>.arrow')
    .option('--hash', 'find duplicate slide files by their content (reads them)')
    .option('--json', 'print one JSON object')
    .action(async (csv: string, { bags, hash, json }: { bags?: string; hash?: boolean; json?: boolean }) => {
      const options = { bags: bags ?? null, hash: hash ?? false, signal: interruptSignal() };
      const summary = await checkCohort(await readCohort(csv), options);
      if (json) printJson(summary);
      else print(summary);
      process.exitCode = summary.findings.some(({ level }) => level === 'error') ? FAILED : DONE;
    });
  command
    .command('card')
    .description('what a public data set is, where to get it, and what others report on it')
    .addArgument(setArgument())
    .option('--json', 'print one JSON object')
    .action(async (name: string, { json }: { json?: boolean }) => {
      const { card } = await openDataSet(name);
      if (json) printJson(card);
      else printCard(card);
    });
  command
    .command('build')
    .description('turn the download folder of a public data set into a table of slides')
    .addArgument(setArgument())
    .argument('<folder>', 'where its files were downloaded')
    .requiredOption('--out <csv>', 'the table')
    .action(async (name: string, folder: string, { out }: { out: string }) => {
      const { build } = await openDataSet(name);
      const { csv, notes } = await build(resolve(folder));
      await writeWhole(out, csv);
      for (const note of notes) process.stderr.write(`note: ${note}\n`);
      printLine(`${out}: ${csv.trimEnd().split('\n').length - 1} slides. Next: lamina cohort check ${out}`);
    });
}

function print({ findings, labels, splits, events, patches, ...sizes }: CohortSummary): void {
  const counted = (values: Readonly<Record<string, number>>) =>
    Object.entries(values)
      .map(([name, n]) => `${name} ${n}`)
      .join(', ');
  printFacts({
    slides: `${sizes.slides}`,
    patients: `${sizes.patients}`,
    ...(sizes.sites > 0 ? { sites: `${sizes.sites}` } : {}),
    ...(Object.keys(labels).length > 0 ? { labels: counted(labels) } : {}),
    ...(Object.keys(splits).length > 0 ? { splits: counted(splits) } : {}),
    ...(events ? { events: `${events[0]} of ${events[1]} patients` } : {}),
    ...(patches ? { patches: `${patches.least} to ${patches.most}, median ${patches.median}` } : {}),
  });
  printLine();
  for (const { level, problem, hint } of findings) printLine(`${level}: ${problem} ${hint}`);
  if (findings.length === 0) printLine('Nothing wrong was found.');
}

function printCard(card: DataSet['card']): void {
  printFacts({
    name: card.name,
    task: card.task,
    classes: card.classes.join(', '),
    slides: card.slides,
    licence: card.licence,
    'where to get it': card.access,
    'official split': card.officialSplit,
    patients: card.patientRule,
    metrics: card.metrics.join(', '),
  });
  printLine();
  printTable(card.published.map(({ model, setting, figure, source }) => ({ model, setting, figure, source })));
  for (const source of card.sources) printLine(`source: ${source}`);
  for (const note of card.notes) printLine(`note: ${note}`);
}
