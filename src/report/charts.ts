/** The drawings of a report, as SVG without scripts: Observable Plot on a document of its own. */
import * as Plot from '@observablehq/plot';
import { Window } from 'happy-dom';
import type { ReliabilityBin } from '../mil/calibration.ts';
import type { ClassEvaluation, RiskGroup } from '../mil/evaluation.ts';
import type { OperatingPoint } from '../mil/score-counts.ts';
import { type Html, html, trusted } from './html.ts';

/** Readable on white and on black, and told apart without red or green. */
export const COLOURS = ['#3b76d1', '#d1622b', '#2f9e6e', '#b0569f', '#8a7a1f', '#c23b4d', '#2b93a8', '#7a6fd0'];

/** Of the n-th series; past the end they begin anew. */
export function colour(n: number): string {
  return COLOURS[n % COLOURS.length]!;
}

export interface Series<T> {
  readonly name: string;
  readonly points: readonly T[];
}

const SIDE = 340;

/** @param caption says what is seen, for those who do not see it too. */
function draw(caption: string, legend: readonly string[], options: Plot.PlotOptions): Html {
  const { document } = new Window();
  const svg = Plot.plot({
    width: SIDE,
    height: SIDE,
    marginLeft: 44,
    marginBottom: 40,
    marginTop: 26,
    marginRight: 14,
    style: { background: 'transparent', color: 'inherit', fontSize: '12px', overflow: 'visible' },
    ...options,
    document: document as unknown as Document,
  });
  // Its caption says it in words; the marks' own labels would be read out as a heap.
  svg.setAttribute('aria-hidden', 'true');
  const names = legend.map(
    (name, i) => html`<li><span class="swatch" style="background:${colour(i)}"></span>${name}</li>`,
  );
  return html`<figure>${legend.length > 1 ? html`<ul class="legend">${names}</ul>` : null}<div role="img" aria-label="${caption}">${trusted(svg.outerHTML)}</div><figcaption>${caption}</figcaption></figure>`;
}

/** A share from 0 to 1. */
const share = (label: string): Plot.ScaleOptions => ({ domain: [0, 1], label, grid: true, ticks: 5 });

export function rocChart(series: readonly Series<OperatingPoint>[]): Html {
  return draw('ROC curve', names(series), {
    x: share('1 − specificity →'),
    y: share('↑ Sensitivity'),
    marks: [
      diagonal(),
      ...series.map(({ points }, i) =>
        Plot.line(points, { x: 'falsePositiveRate', y: 'sensitivity', stroke: colour(i), strokeWidth: 2 }),
      ),
    ],
  });
}

/** @param prevalence drawn as what a coin would reach, where there is one class. */
export function precisionRecallChart(series: readonly Series<OperatingPoint>[], prevalence: number | null): Html {
  return draw('Precision and recall', names(series), {
    x: share('Recall →'),
    y: share('↑ Precision'),
    marks: [
      ...(prevalence === null
        ? []
        : [Plot.ruleY([prevalence], { stroke: 'currentColor', strokeDasharray: '3 4', strokeOpacity: 0.6 })]),
      ...series.map(({ points }, i) => {
        const drawn = points.filter(({ precision }) => precision !== null);
        // Up to the first point at its precision: that is the area which average precision sums.
        const whole = drawn.length > 0 ? [{ ...drawn[0]!, sensitivity: 0 }, ...drawn] : [];
        return Plot.line(whole, {
          x: 'sensitivity',
          y: 'precision',
          stroke: colour(i),
          strokeWidth: 2,
          curve: 'step-before',
        });
      }),
    ],
  });
}

export function reliabilityChart(series: readonly Series<ReliabilityBin>[]): Html {
  const most = Math.max(1, ...series.flatMap(({ points }) => points.map(({ count }) => count)));
  return draw(
    'Reliability: how often a prediction of that confidence was right (dots as large as their cases are many)',
    names(series),
    {
      x: share('Probability of the predicted class →'),
      y: share('↑ Share that was right'),
      marks: [
        diagonal(),
        ...series.flatMap(({ points }, i) => {
          const filled = points.filter(({ count }) => count > 0);
          const place = { x: 'confidence', y: 'accuracy' };
          return [
            Plot.line(filled, { ...place, stroke: colour(i), strokeOpacity: 0.6 }),
            Plot.dot(filled, {
              ...place,
              r: (bin: ReliabilityBin) => 2 + 7 * Math.sqrt(bin.count / most),
              fill: colour(i),
            }),
          ];
        }),
      ],
      r: { type: 'identity' },
    },
  );
}

/** Cases of the class upwards, all others downwards. */
export function histogramChart({ name, histogram }: ClassEvaluation): Html {
  const bins = histogram.own.length;
  const bars = (counts: readonly number[], sign: number) =>
    counts.map((count, i) => ({ low: i / bins, high: (i + 1) / bins, count: sign * count }));
  const most = Math.max(1, ...histogram.own, ...histogram.others);
  return draw(`Probability of ${name}: of ${name} above, of all others below`, [name, 'others'], {
    height: SIDE * 0.72,
    x: share(`Probability of ${name} →`),
    y: {
      domain: [-most, most],
      label: '↑ Cases',
      grid: true,
      ticks: 5,
      tickFormat: (value: number) => String(Math.abs(value)),
    },
    marks: [
      Plot.rectY(bars(histogram.own, 1), { x1: 'low', x2: 'high', y: 'count', fill: colour(0), inset: 0.5 }),
      Plot.rectY(bars(histogram.others, -1), { x1: 'low', x2: 'high', y: 'count', fill: colour(1), inset: 0.5 }),
      Plot.ruleY([0]),
    ],
  });
}

export function survivalChart(groups: readonly RiskGroup[]): Html {
  const last = Math.max(0, ...groups.flatMap(({ steps }) => steps.map(({ time }) => time)));
  const whole = groups.map(({ name, steps }) => ({
    name,
    points: [{ time: 0, survival: 1, low: 1, high: 1 }, ...steps],
  }));
  return draw('Survival (Kaplan-Meier, 95 % interval); crosses are censored', names(whole), {
    width: SIDE * 1.9,
    x: { domain: [0, last || 1], label: 'Time →' },
    y: share('↑ Survival'),
    marks: [
      ...whole.flatMap(({ points }, i) => [
        Plot.areaY(
          points.filter(({ low }) => low !== null),
          { x: 'time', y1: 'low', y2: 'high', curve: 'step-after', fill: colour(i), fillOpacity: 0.15 },
        ),
        Plot.line(points, { x: 'time', y: 'survival', curve: 'step-after', stroke: colour(i), strokeWidth: 2 }),
      ]),
      ...groups.map(({ steps }, i) =>
        Plot.dot(
          steps.filter(({ censored }) => censored > 0),
          { x: 'time', y: 'survival', stroke: colour(i), symbol: 'plus', r: 3 },
        ),
      ),
    ],
  });
}

/** Shares removed or put in against what the model then says. */
export function perturbationChart(caption: string, series: readonly Series<{ share: number; value: number }>[]): Html {
  return draw(caption, names(series), {
    x: share('Share of patches →'),
    y: share('↑ Probability of the prediction'),
    marks: series.map(({ points }, i) =>
      Plot.line(points, { x: 'share', y: 'value', stroke: colour(i), strokeWidth: 2 }),
    ),
  });
}

function diagonal() {
  const ends = [
    [0, 0],
    [1, 1],
  ];
  return Plot.line(ends, { stroke: 'currentColor', strokeDasharray: '3 4', strokeOpacity: 0.6 });
}

function names(series: readonly { readonly name: string }[]): string[] {
  return series.map(({ name }) => name);
}
