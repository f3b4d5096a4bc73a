/** `lamina export`: a run as a folder that any web server shows, for a paper or a link in a mail. */
import type { Command } from 'commander';
import { type Bundle, type BundleProgress, writeBundle } from '../viewer/bundle.ts';
import type { BundledSlide } from '../viewer/bundle-slide.ts';
import { DONE, FAILED, SOME_FAILED } from './exit.ts';
import { interruptSignal } from './interrupt.ts';
import { parsePositive } from './options.ts';
import { printJson, printLine, printTable, size } from './print.ts';

interface Flags {
  readonly out: string;
  readonly slide: readonly string[];
  readonly finestMpp?: number;
  readonly showLabels?: boolean;
  readonly json?: boolean;
}

export function configure(command: Command): void {
  command
    .argument('<run>', 'folder that `lamina run --out` wrote')
    .requiredOption('--out <folder>', 'a new folder for the page, its tiles and scores')
    .option('--slide <id>', 'only this slide; once for each', (id, before: readonly string[]) => [...before, id], [])
    .option('--finest-mpp <um>', 'leave out what is finer than so many micrometres per pixel', parsePositive)
    .option('--show-labels', 'take along label and macro images, which may bear names')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nThe folder is shown by any web server, under any address, without Lamina; a browser does not show it as a' +
        '\nfile. Folders of slides and patients are left out; names of slides are not. Annotations and reviews stay here.',
    )
    .action(async (run: string) => {
      const { out, slide, finestMpp = null, showLabels = false, json } = command.optsWithGlobals<Flags>();
      const options = { slides: slide, finestMpp, showLabels, signal: interruptSignal(), onProgress: showTiles() };
      const bundle = await writeBundle(run, out, options);
      if (json) printJson({ out, ...bundle });
      else print(out, bundle);
      const failed = bundle.slides.filter(({ tiles }) => tiles === 0).length;
      process.exitCode = failed === 0 ? DONE : failed === bundle.slides.length ? FAILED : SOME_FAILED;
    });
}

/** Rewriting the line more often is not read. */
const INTERVAL_MS = 100;

/** A line that rewrites itself on a terminal, one line a slide elsewhere. */
function showTiles(): (progress: BundleProgress) => void {
  const terminal = process.stderr.isTTY;
  let shown = 0;
  return ({ slide, index, slides, done, tiles, bytes }) => {
    const isLast = done === tiles;
    if (!isLast && (!terminal || performance.now() - shown < INTERVAL_MS)) return;
    shown = performance.now();
    const line = `${index + 1}/${slides} ${slide}: ${done}/${tiles} tiles, ${size(bytes)} in all`;
    process.stderr.write(terminal ? `\r\u001b[2K${line}${isLast ? '\n' : ''}` : `${line}\n`);
  };
}

function print(out: string, { slides, bytes }: Bundle): void {
  printTable(slides.map(row));
  for (const { id, problems } of slides) for (const problem of problems) printLine(`${id}: ${problem}`);
  printLine(`${out}: ${size(bytes)}. Put it on a web server, or look at it with: python3 -m http.server -d ${out}`);
}

function row({ id, tiles, bytes, mpp }: BundledSlide) {
  return { slide: id, tiles, MB: (bytes / 1e6).toFixed(1), 'finest µm/px': mpp === null ? '-' : mpp.toPrecision(3) };
}
