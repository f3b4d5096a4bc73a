/** The evaluation as one HTML file that needs nothing else: no network, no scripts. Every text from outside is escaped. */
import type { Comparison } from '../mil/comparison.ts';
import type {
  Estimate,
  Evaluation,
  FoldTable,
  LevelEvaluation,
  MisjudgedSlide,
  ModelEvaluation,
  RiskGroups,
  WrongSlide,
} from '../mil/evaluation.ts';
import type { Faithfulness } from '../mil/faithfulness.ts';
import { figureNames } from '../mil/figures.ts';
import {
  histogramChart,
  perturbationChart,
  precisionRecallChart,
  reliabilityChart,
  rocChart,
  survivalChart,
} from './charts.ts';
import { figure, type Html, html, pValue, table } from './html.ts';
import { STYLE } from './style.ts';

/** What the evaluation does not know of itself. */
export interface ReportContext {
  readonly title: string;
  /** Of the program, and of Node. */
  readonly version: string;
  readonly runtime: string;
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  /** What went in, with its hash. */
  readonly inputs: readonly { readonly name: string; readonly hash: string }[];
  /** Address of the viewer in which slides open. */
  readonly viewer: string;
  /** Measured by `lamina explain`; null when it was not. */
  readonly faithfulness: Faithfulness | null;
}

export function evaluationReport(evaluation: Evaluation, context: ReportContext): string {
  const { models, comparisons, warnings } = evaluation;
  const body = html`<header><h1>${context.title}</h1>${summary(evaluation)}</header>
${warnings.length > 0 ? html`<section class="warnings"><h2>To be known</h2><ul>${warnings.map((text) => html`<li>${text}</li>`)}</ul></section>` : null}
${figuresSection(evaluation)}
${comparisons.length > 0 ? comparisonSection(comparisons) : null}
${evaluation.task === 'classification' ? curvesSection(evaluation) : null}
${models.map((model) => modelSection(model, evaluation, context))}
${context.faithfulness ? faithfulnessSection(context.faithfulness) : null}
${methodsSection(evaluation, context)}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
${html`<title>${context.title}</title>`.markup}<style>${STYLE}</style></head>
<body><main>${body.markup}</main></body></html>
`;
}

/** The main figure of each model, at the level that a clinic cares for. */
function summary({ models, task }: Evaluation): Html {
  const name = task === 'classification' ? 'auc' : 'cIndex';
  return html`<ul class="lead">${models.map((model) => {
    const level = model.patients ?? model.slides;
    const unit = model.patients || level.cases === level.patients ? 'patients' : 'slides';
    const estimate = level.figures[name]!;
    return html`<li><b>${models.length > 1 ? `${model.name}: ` : ''}${figureNames[name]!} ${figure(estimate.value)}</b> ${range(estimate)} over ${level.cases} ${unit}</li>`;
  })}</ul>`;
}

function range({ low, high }: Estimate): string {
  return low === null || high === null ? '(no interval)' : `(${figure(low)} to ${figure(high)})`;
}

function estimateCell(estimate: Estimate | undefined): Html {
  if (!estimate) return html``;
  return html`<span class="value">${figure(estimate.value)}</span> <span class="range">${estimate.value === null ? '' : range(estimate)}</span>`;
}

/** Each model's slides, then its patients where they differ. */
function levels(models: readonly ModelEvaluation[]): { name: string; level: LevelEvaluation }[] {
  return models.flatMap((model) => {
    const prefix = models.length > 1 ? `${model.name}, ` : '';
    const own = [{ name: `${prefix}slides`, level: model.slides }];
    return model.patients ? [...own, { name: `${prefix}patients`, level: model.patients }] : own;
  });
}

function figuresSection({ models, options, classes }: Evaluation): Html {
  const columns = levels(models);
  const names = Object.keys(figureNames).filter((name) => name in models[0]!.slides.figures);
  const titleOf = (name: string) =>
    name === 'sensitivityAtSpecificity' ? `Sensitivity at a specificity of ${options.specificity}` : figureNames[name]!;
  const rows = [
    [
      'Cases',
      ...columns.map(({ level }) => html`${level.cases} <span class="range">of ${level.patients} patients</span>`),
    ],
    ...names.map((name) => [titleOf(name), ...columns.map(({ level }) => estimateCell(level.figures[name]))]),
  ];
  const chance = models.map(
    ({ name, pAgainstChance }) => `${models.length > 1 ? `${name}: ` : ''}p ${equals(pAgainstChance)}`,
  );
  return html`<section><h2>Figures</h2>${table(['Figure', ...columns.map(({ name }) => name)], rows, 'Figures with 95 % intervals')}
<p class="note">Against chance (truth shuffled over patients): ${chance.join('; ')}. A dash is a figure that these cases do not define.${options.ordered && classes.length > 0 ? ` Kappa takes the grades in the order ${classes.join(', ')}.` : ''}</p></section>`;
}

function equals(p: number | null): string {
  const text = pValue(p);
  return text.startsWith('<') || p === null ? text : `= ${text}`;
}

function comparisonSection(comparisons: readonly Comparison[]): Html {
  const rows = comparisons.flatMap(({ first, second, patients, figure: name, difference, permutationP, delong }) => [
    [`${first} − ${second}`, figureNames[name]!, patients, signed(difference), '', pValue(permutationP), 'permutation'],
    ...delong.map((result) => [
      `${first} − ${second}`,
      `AUC, ${result.name}`,
      patients,
      signed(result.difference),
      `(${signed(result.low)} to ${signed(result.high)})`,
      pValue(result.p),
      'DeLong',
    ]),
  ]);
  return html`<section><h2>Models against each other</h2>${table(['Models', 'Figure', 'Patients', 'Difference', '95 % interval', 'p', 'Test'], rows, 'Differences on the patients that both predicted')}
<p class="note">p are two-sided and not corrected for the number of comparisons (${comparisons.length}).</p></section>`;
}

function signed(value: number | null): string {
  return value === null ? '–' : `${value < 0 ? '−' : '+'}${Math.abs(value).toFixed(3)}`;
}

/** One chart for all models where there are two classes; otherwise one a model, with a curve for each class. */
function curvesSection({ models, classes }: Evaluation): Html {
  const binary = classes.length === 2;
  const charts = binary
    ? [
        curves(
          `${classes[1]} against ${classes[0]}`,
          models.map(({ name, slides }) => ({ name, points: slides.classes[1]!.curve })),
          prevalenceOf(models[0]!.slides),
        ),
      ]
    : models.map(({ name, slides }) =>
        curves(
          models.length > 1 ? `${name}, each class against all others` : 'Each class against all others',
          slides.classes.map((one) => ({ name: one.name, points: one.curve })),
          null,
        ),
      );
  return html`<section><h2>Curves, slides</h2>${charts}</section>`;
}

function curves(title: string, series: Parameters<typeof rocChart>[0], prevalence: number | null): Html {
  const drawn = series.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return html`<p>There is no curve: only one class has cases.</p>`;
  return html`<h3>${title}</h3><div class="charts">${rocChart(drawn)}${precisionRecallChart(drawn, prevalence)}</div>`;
}

function prevalenceOf({ classes, cases }: LevelEvaluation): number {
  return classes[1]!.cases / cases;
}

function modelSection(model: ModelEvaluation, { models, classes, task }: Evaluation, context: ReportContext): Html {
  const { slides } = model;
  const title = models.length > 1 ? model.name : 'In detail';
  const risk = (model.patients ?? slides).riskGroups;
  return html`<section><h2>${title}</h2>
${
  task === 'classification'
    ? html`${classesTable(slides)}${confusionTable(slides, classes)}${calibrationPart(slides)}
<h3>Scores, slides</h3><div class="charts">${(classes.length === 2 ? slides.classes.slice(1) : slides.classes).map(histogramChart)}</div>`
    : null
}
${risk ? riskPart(risk) : null}
${model.folds ? foldsTable(model.folds) : null}
${task === 'classification' ? worstTable(model.worst, context.viewer) : misjudgedTable(model.misjudged, context.viewer)}</section>`;
}

function classesTable({ classes }: LevelEvaluation): Html {
  const names = ['precision', 'recall', 'f1', 'auc', 'averagePrecision'];
  const head = ['Class', 'Cases', 'Predicted', 'Precision', 'Recall', 'F1', 'AUC', 'Average precision'];
  const rows = classes.map((one) => [
    one.name,
    one.cases,
    one.predicted,
    ...names.map((name) => estimateCell(one.figures[name])),
  ]);
  return table(head, rows, 'Classes, slides, with 95 % intervals');
}

function confusionTable({ confusion }: LevelEvaluation, classes: readonly string[]): Html {
  const rows = confusion.map((row, i) => {
    const total = row.reduce((a, b) => a + b, 0);
    const cells = row.map((count, j) => {
      const share = total > 0 ? count / total : 0;
      return html`<td class="${i === j ? 'right' : 'wrong'}" style="--share:${share.toFixed(3)}">${count}<span class="range"> ${total > 0 ? `(${Math.round(100 * share)} %)` : ''}</span></td>`;
    });
    return html`<tr><th scope="row">${classes[i]!}</th>${cells}</tr>`;
  });
  return html`<h3>Confusion, slides</h3><div class="scroll" tabindex="0"><table class="confusion"><caption>True class by row, predicted class by column, share of the row</caption>
<thead><tr><th scope="col">True \\ predicted</th>${classes.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead><tbody>${rows}</tbody></table></div>`;
}

function calibrationPart({ calibration, figures, operatingPoint }: LevelEvaluation): Html {
  if (!calibration) return html``;
  const { bins, scaled, temperature, logLoss } = calibration;
  const rows = [
    ['Expected calibration error', figure(figures.ece!.value), figure(scaled.ece)],
    ['Brier score', figure(figures.brier!.value), figure(scaled.brier)],
    ['Log loss', figure(logLoss), figure(scaled.logLoss)],
  ];
  const point = operatingPoint?.threshold;
  return html`<h3>Calibration, slides</h3><div class="charts">${reliabilityChart([{ name: '', points: bins }])}<div>
${table(['Figure', 'As predicted', 'Temperature-scaled'], rows, 'Calibration')}
<p class="note">Temperature ${figure(temperature)} (fitted to all cases); above 1 the model was too sure. The scaled column is honest: each case was scaled by a
temperature that was fitted to other patients, the four fifths without its own.${point === undefined || point === null ? '' : ` The threshold of the sensitivity at fixed specificity is ${figure(point)}, chosen on these very cases.`}</p></div></div>`;
}

function riskPart({ cut, groups, logRank }: RiskGroups): Html {
  const rows = groups.map(({ name, cases, events, median }) => [
    name,
    cases,
    events,
    median === null ? 'not reached' : figure(median, 1),
  ]);
  const test = logRank
    ? `Log-rank: chi-squared ${figure(logRank.chiSquared, 2)}, p ${equals(logRank.p)}.`
    : 'The groups cannot be compared.';
  const last = Math.max(0, ...groups.flatMap(({ steps }) => steps.map(({ time }) => time)));
  const times = Array.from({ length: 6 }, (_, i) => (last * i) / 5);
  const atRisk = groups.map(({ name, steps }) => [
    name,
    ...times.map((time) => steps.find((step) => step.time >= time)?.atRisk ?? 0),
  ]);
  return html`<h3>Risk groups</h3>${survivalChart(groups)}
${table(['At risk', ...times.map((time) => figure(time, last < 10 ? 1 : 0))], atRisk, 'Number at risk by time')}
${table(['Group', 'Cases', 'Events', 'Median survival'], rows, 'Groups, cut at the median risk')}
<p class="note">${test} The cut, a risk of ${figure(cut)}, is the median of these cases: it describes them and is no rule for others.</p>`;
}

function foldsTable({ folds, mean, deviation }: FoldTable): Html {
  const names = Object.keys(figureNames).filter((name) => name in mean);
  const rows = [
    ...folds.map(({ fold, cases, figures }) => [fold, cases, ...names.map((name) => figure(figures[name]))]),
    [
      html`Mean <span class="range">± SD</span>`,
      '',
      ...names.map((name) => html`${figure(mean[name])} <span class="range">± ${figure(deviation[name])}</span>`),
    ],
  ];
  return html`<h3>Folds, slides</h3>${table(['Fold', 'Slides', ...names.map((name) => figureNames[name]!)], rows, 'Figures by fold; the deviation has n − 1 below')}`;
}

function worstTable(worst: readonly WrongSlide[], viewer: string): Html {
  if (worst.length === 0) return html`<h3>Worst errors</h3><p>Every slide was predicted right.</p>`;
  const rows = worst.map(({ slide, patient, fold, label, prediction, probabilityOfLabel, probabilityOfPrediction }) => [
    slideLink(slide, viewer),
    patient,
    fold ?? '–',
    label,
    prediction,
    figure(probabilityOfPrediction),
    figure(probabilityOfLabel),
  ]);
  const head = ['Slide', 'Patient', 'Fold', 'True', 'Predicted', 'Probability of the prediction', 'of the truth'];
  return html`<h3>Worst errors</h3>${table(head, rows, 'Slides that were predicted wrong, the surest first')}${linkNote(viewer)}`;
}

function misjudgedTable(misjudged: readonly MisjudgedSlide[], viewer: string): Html {
  if (misjudged.length === 0) return html`<h3>Worst errors</h3><p>All risks are in the order of the times.</p>`;
  const rows = misjudged.map(({ slide, patient, fold, time, event, risk, discordant, comparable }) => [
    slideLink(slide, viewer),
    patient,
    fold ?? '–',
    time,
    event ? 'event' : 'censored',
    figure(risk),
    `${discordant} of ${comparable}`,
  ]);
  const head = ['Slide', 'Patient', 'Fold', 'Time', 'Seen', 'Risk', 'Pairs in the wrong order'];
  return html`<h3>Worst errors</h3>${table(head, rows, 'Slides whose risk and time disagree with the most others')}${linkNote(viewer)}`;
}

function slideLink(slide: string, viewer: string): Html {
  return html`<a href="${`${viewer}#slide=${encodeURIComponent(slide)}`}">${slide}</a>`;
}

function linkNote(viewer: string): Html {
  return html`
<p class="note">The links open the slide while <code>lamina view RUN</code> shows the run at ${viewer}.</p>`;
}

function faithfulnessSection({ columns, slides, steps, baseline }: Faithfulness): Html {
  const rows = columns.map((column) => [
    column.name,
    ...[column.deletion, column.insertion, column.score].map((value) => figure(value)),
  ]);
  const series = (kind: 'deletionCurve' | 'insertionCurve') =>
    columns.map((column) => ({
      name: column.name,
      points: column[kind].map((value, i) => ({ share: i / (steps - 1), value })),
    }));
  return html`<section><h2>Faithfulness of the explanations</h2>
<div class="charts">${perturbationChart('Deletion: the patches of the highest score taken away first', series('deletionCurve'))}${perturbationChart('Insertion: the patches of the highest score alone, then more', series('insertionCurve'))}</div>
${table(['Score', 'Area under deletion', 'Area under insertion', 'Insertion − deletion'], rows, `Means over ${slides} slides`)}
<p class="note">A score that knows what the model looks at has a low deletion and a high insertion area. Patches in random order give ${figure(baseline.deletion)} and ${figure(baseline.insertion)}.</p></section>`;
}

function methodsSection({ options, task, classes, models, comparisons }: Evaluation, context: ReportContext): Html {
  const positive = classes.length === 2 ? ` The positive class is ${classes[1]}.` : '';
  const of =
    task === 'classification'
      ? `The predicted class is the first of the highest probability.${positive} AUC counts ties half${classes.length > 2 ? ' and is the mean of each class against all others; classes without cases are left out' : ''}.
Average precision is the sum of steps. The Brier score is the mean squared distance of ${classes.length > 2 ? 'all probabilities, summed over classes' : 'the probability of one class'}. The calibration error is over 10 bins of equal width of the probability of the predicted class.
Sensitivity at fixed specificity is the highest at which the specificity on these cases is at least ${options.specificity}.`
      : `C is Harrell's: pairs are comparable when the earlier time is an event; risks within 1e-8 count half. Survival curves are Kaplan-Meier's with log-log intervals by Greenwood's variance.`;
  const folds = models.some((model) => model.folds)
    ? ' Cases are predictions of models that were not trained on them, one model a fold.'
    : '';
  const between = `${task === 'classification' ? "DeLong's for areas under the ROC curve, and " : ''}exchanging the models' ranks patient by patient, two-sided`;
  const tests = `Tests are over patients, by ${options.resamples} permutations: of the truth, one-sided, against chance${comparisons.length > 0 ? `; between models ${between}` : ''}.`;
  return html`<section><h2>Methods</h2>
<p>${of} Intervals are 95 % percentile bootstrap intervals of ${options.resamples} draws of patients with all their slides (seed ${options.seed}). At patient level the probabilities of a patient's slides are averaged.${folds}
${tests}</p>
<p>Lamina ${context.version}, ${context.runtime}, ${context.createdAt}.</p>
${table(
  ['Input', 'Hash'],
  context.inputs.map(({ name, hash }) => [name, html`<code>${hash}</code>`]),
  'What went in',
)}</section>`;
}
