/** The page: a list of slides, the chosen one in deep zoom with its heatmap, and what is known about it. */
import './early.ts';
import type { Scores, SessionView, SlideEntry, SlideView } from '../api.ts';
import { AnnotationLayer, measureOf } from './annotations.ts';
import { showAssociated } from './associated.ts';
import { isBundle } from './bundle.ts';
import { ChosenPatch } from './chosen-patch.ts';
import { Comparison } from './comparison.ts';
import { Drawing, type Point, type Tool } from './drawing.ts';
import { byId } from './element.ts';
import { count, figure, percent } from './figures.ts';
import { Gallery } from './gallery.ts';
import { Heatmap } from './heatmap.ts';
import { HeatmapControls, nameOf } from './heatmap-controls.ts';
import { Holes } from './holes.ts';
import { onKeys } from './keys.ts';
import { LinkedViews } from './linked-views.ts';
import { LiveRun } from './live.ts';
import { Outline } from './outline.ts';
import { showBanners, showPanel, slideBanners } from './panel.ts';
import type { Patch } from './patch-picture.ts';
import { PatchSources } from './patch-sources.ts';
import { readPermalink, toPermalink } from './permalink.ts';
import { ReviewDesk } from './review.ts';
import { drawScaleBar } from './scale-bar.ts';
import { getRun, getScores, getSlide, getSlides, getTissue } from './server.ts';
import { openSession } from './session.ts';
import { SimilarPatches } from './similar.ts';
import { SlideList } from './slide-list.ts';
import { Stage, type StageView } from './stage.ts';
import { WhatIf } from './what-if.ts';

const stage = new Stage(byId('osd'), showPosition, () => {
  lostTiles++;
  banners();
});
const second = new Heatmap(stage.viewer, 'second');
const heatmap = new Heatmap(stage.viewer, 'heatmap', second);
const holes = new Holes(stage.viewer);
const outline = new Outline(stage.viewer);
const annotations = new AnnotationLayer(stage.viewer, () => desk.reader, complain);
const whatIf = new WhatIf(stage.viewer, complain);
const drawing = new Drawing(stage.viewer, byId('view'), drawn, showDrawing);
const chosen = new ChosenPatch(stage.viewer, () => {
  sources.cancel();
  if (computed?.of === 'patch') showComputed(null);
});
new SimilarPatches(chosen, (slide, patch) => void visit(slide, patch), complain);
const sources = new PatchSources(chosen, (found) => showComputed({ ...found, of: 'patch' }), complain);
const gallery = new Gallery((patch) => {
  stage.flyTo(patch);
  chosen.choose(patch);
});
const comparison = new Comparison({
  stage,
  heatmap,
  second,
  shownScores: () => own,
  showComputed: (found) => showComputed(found && { ...found, of: 'comparison' }),
  complain,
});
const controls = new HeatmapControls(
  heatmap,
  outline,
  () => {
    const { signal } = loading;
    showScores(signal).catch((error) => signal.aborted || complain(error));
  },
  remember,
);
const linked = new LinkedViews(stage, (isLinked) => {
  byId('link-views').setAttribute('aria-pressed', String(isLinked));
});
const desk = new ReviewDesk({
  present: async (view, signal) => {
    loading.abort();
    loading = new AbortController();
    signal.addEventListener('abort', () => loading.abort());
    await present(view, null, loading.signal);
  },
  complain,
  slides: () => entries,
  session: () => session,
  changed: (active) => {
    byId('slides').hidden = active;
    if (!active && shown) void choose(shown.id);
  },
});
const liveRun = new LiveRun({
  onList: async () => {
    const running = shown?.live !== null;
    await showRun();
    const now = entries.find(({ id }) => id === shown?.id);
    if (running && now && now.status !== 'running' && !desk.active) await choose(now.id, stage.view);
    else if (!shown) await chooseFirst();
  },
  onProgress: (id, progress, hasScores) => {
    slides?.progress(id, progress);
    if (shown?.id !== id || desk.active) return;
    // What fails because the slide has just been finished is loaded anew with the list.
    if (hasScores) void grow(id).catch(() => {});
    else showLive({ ...shown, live: progress });
  },
  onContact: (answers) => banners(...(answers ? [] : ['The viewer does not answer. What is shown may be old.'])),
});

let session: SessionView = { mode: 'open', user: null };
let entries: readonly SlideEntry[] = [];
let slides: SlideList | null = null;
let runWarnings: readonly string[] = [];
let shown: SlideView | null = null;
/** Scores of the chosen column, and scores that no column has: a difference, or what feeds a patch. */
let own: { readonly scores: Scores; readonly name: string } | null = null;
let computed: { readonly scores: Scores; readonly of: 'patch' | 'comparison' } | null = null;
/** Ends what is being loaded for the slide before. */
let loading = new AbortController();
/** Until the picture is as sharp as the screen. */
let settled = Promise.resolve();
/** Tiles of the shown slide that did not come. */
let lostTiles = 0;

async function start(): Promise<void> {
  session = await openSession();
  slides = new SlideList(choose, remember);
  await showRun();
  slides.settings = readPermalink(location.hash).settings;
  if (new URLSearchParams(location.hash.slice(1)).has('linked')) linked.toggle(true);
  if (!isBundle) liveRun.look();
  if (entries.length > 0) await chooseFirst();
  else complain('This run has no slides yet. They appear here as they are worked on.');
}

async function showRun(): Promise<void> {
  const [run, found] = await Promise.all([getRun(), getSlides()]);
  entries = found;
  runWarnings = run.warnings;
  byId('run-name').textContent = run.finishedAt ? run.name : `${run.name} (not finished)`;
  document.title = `${run.name} · Lamina`;
  slides?.update(entries);
}

/** The slide of the address, or one with something to see. */
async function chooseFirst(): Promise<void> {
  const { slide, view } = readPermalink(location.hash);
  const asked = entries.find(({ id }) => id === slide);
  await choose((asked ?? entries.find(({ status }) => status === 'done') ?? entries[0]!).id, asked ? view : null);
}

async function choose(id: string, view: StageView | null = null): Promise<void> {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  slides?.mark(id);
  try {
    await present(await getSlide(id, signal), view, signal);
  } catch (error) {
    if (!signal.aborted) complain(error);
  }
}

/** More of a slide under way: its prediction and scores, where the view is. */
async function grow(id: string): Promise<void> {
  const { signal } = loading;
  const slide = await getSlide(id, signal);
  if (shown?.id !== id || slide.live === null) return;
  const hasMore = slide.scoreColumns.length !== shown.scoreColumns.length;
  showLive(slide);
  if (hasMore) controls.offer(slide);
  await showScores(signal);
}

function showLive(slide: SlideView): void {
  shown = slide;
  showPanel(slide);
  banners();
}

/** Shows a slide, then its scores, outline and annotations as they come. */
async function present(slide: SlideView, view: StageView | null, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  shown = slide;
  lostTiles = 0;
  drawing.choose(null);
  showPanel(slide);
  showAssociated(slide);
  banners();
  controls.offer(slide);
  controls.settings = readPermalink(location.hash).settings;
  heatmap.show(null);
  own = computed = null;
  gallery.show(slide.id, null, 0, null);
  holes.show(slide.facts?.holes ?? []);
  outline.show(null);
  whatIf.show(slide);
  chosen.show(slide);
  byId('scale-bar').hidden = true;
  byId('view').classList.toggle('empty', slide.picture === null);
  byId('no-picture').textContent = slide.pictureProblem === null ? '' : `There is no picture. ${slide.pictureProblem}`;
  settled = stage.show(slide.id, slide.picture, view);
  comparison.show(slide, entries);
  offerMagnifications(slide);
  showPosition();
  void annotations.show(null, null, signal);
  await Promise.all([showScores(signal), settled.then(() => showRest(slide, signal))]);
}

async function showScores(signal: AbortSignal): Promise<void> {
  if (!shown?.facts || !controls.chosenColumn) return;
  const side = shown.facts.patchLevel0Px;
  const column = controls.chosenColumn;
  if (computed && !controls.showsComputed) computed = null;
  const scores = computed?.scores ?? (await getScores(shown.id, column, signal));
  heatmap.show(scores, side);
  controls.showLegend();
  remember();
  if (!computed) {
    own = { scores, name: nameOf(column) };
    comparison.changed();
  }
  await settled;
  if (!signal.aborted) gallery.show(shown.id, scores, side, shown.picture);
}

/** Shows scores that no column has; null the chosen column again. */
function showComputed(
  found: { scores: Scores; name: string; caption: string; of: 'patch' | 'comparison' } | null,
): void {
  computed = found;
  if (found) controls.offerComputed(found.name, found.caption, found.of === 'comparison');
  else controls.withdrawComputed();
  const { signal } = loading;
  showScores(signal).catch((error) => signal.aborted || complain(error));
}

/** The patch under the pointer; for one without a pointer that in the middle of the view. */
function choosePatch(): void {
  const place = stage.place ?? stage.middle;
  const patch = place && heatmap.patchAt(place);
  if (!patch) {
    complain(new Error('No patch lies there. Point at one, or bring one into the middle of the view.'));
    return;
  }
  banners();
  chosen.choose(patch);
  chosen.focus();
}

/** Goes to a patch of any slide of the run. */
async function visit(slide: string, patch: Patch): Promise<void> {
  if (slide === shown?.id) stage.flyTo(patch);
  else await choose(slide, stage.viewOf(patch));
  if (slide === shown?.id) chosen.choose(patch);
}

/** What can wait until the picture is there. */
async function showRest({ id, picture, facts, hasTissue }: SlideView, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await Promise.all([
    hasTissue ? getTissue(id, signal).then((tissue) => outline.show(tissue)) : null,
    annotations.show(picture ? id : null, facts?.mpp ?? null, signal),
  ]);
}

/** Scale bar, magnification, and what is under the pointer. */
function showPosition(): void {
  const { zoom, place } = stage;
  if (zoom && shown?.facts) drawScaleBar(zoom, shown.facts.mpp);
  byId('magnification').textContent = zoom ? magnification(zoom) : '';
  byId('cursor-place').textContent = place ? `x ${count(Math.floor(place.x))}, y ${count(Math.floor(place.y))} px` : '';
  byId('cursor-score').textContent = controls.scoreAt(place);
}

/** As of a microscope: that of the objective at full resolution. Without one, 10x is 1 um per pixel, as scanners have it. */
function fullMagnification(slide: SlideView | null): number | null {
  return slide?.facts?.objectivePower ?? (slide?.facts?.mpp ? 10 / slide.facts.mpp : null);
}

function magnification(zoom: number): string {
  const full = fullMagnification(shown);
  return full ? `${figure(full * zoom)}×` : `${percent(zoom)} of full size`;
}

function offerMagnifications(slide: SlideView): void {
  const full = fullMagnification(slide);
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-magnification]')) {
    const wanted = Number(button.dataset.magnification);
    button.hidden = full === null || wanted > 2 * full;
    button.onclick = () => full !== null && stage.zoomTo(wanted / full);
  }
}

/** Keeps the address to what is seen, without a new step in the browser's history. */
function remember(): void {
  if (!shown || desk.active) return;
  history.replaceState(null, '', toPermalink(shown.id, stage.view, { ...controls.settings, ...slides?.settings }));
}

function chooseTool(tool: Tool | null): void {
  if (tool !== null && (!shown?.picture || (tool === 'lasso' && isBundle))) return;
  drawing.choose(drawing.current === tool ? null : tool);
}

function drawn(tool: Tool, points: Point[]): void {
  if (tool === 'lasso') {
    whatIf.region([points]);
    drawing.choose(null);
  } else annotations.add(tool, points);
}

function showDrawing(points: readonly Point[], tool: Tool | null): void {
  for (const button of document.querySelectorAll<HTMLButtonElement>('[data-tool]')) {
    button.setAttribute('aria-pressed', String((button.dataset.tool || null) === tool));
  }
  byId('tool-hint').textContent = tool === null ? '' : HINTS[tool];
  if (tool === 'ruler' && points.length === 2) {
    const line = { type: 'LineString' as const, coordinates: points.map((point) => [...point]) };
    byId('tool-hint').textContent = measureOf(line, shown?.facts?.mpp ?? null);
  }
}

const HINTS: Readonly<Record<Tool, string>> = {
  polygon: 'Click corners; double-click or Enter closes, Backspace takes one back, Esc gives up.',
  freehand: 'Draw around the region with the button held. Esc gives up.',
  rectangle: 'Drag from corner to corner. Esc gives up.',
  point: 'Click. Esc ends.',
  ruler: 'Drag from end to end. Esc ends.',
  lasso: 'Draw around the region that the model is asked about. Esc gives up.',
};

/** What must be known, and what went wrong just now. */
function banners(...complaints: readonly string[]): void {
  const lost = lostTiles === 1 ? 'One tile' : `${count(lostTiles)} tiles`;
  showBanners([
    ...runWarnings,
    ...(shown ? slideBanners(shown) : []),
    ...(lostTiles > 0 ? [`${lost} of this slide could not be read and stay blank.`] : []),
    ...complaints,
  ]);
}

function complain(error: unknown): void {
  banners(error instanceof Error ? error.message : String(error));
}

function step(places: number): void {
  const next = slides?.neighbour(shown?.id ?? null, places);
  if (next && next !== shown?.id && !desk.active) void choose(next);
}

function showHelp(): void {
  byId<HTMLDialogElement>('help').showModal();
}

function fullScreen(): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void byId('stage').requestFullscreen();
}

const THEMES = ['light dark', 'light', 'dark'] as const;

/** As the system has it, light, dark, and round again. */
function nextTheme(): void {
  const now = THEMES.indexOf((localStorage.getItem('lamina-theme') ?? THEMES[0]) as (typeof THEMES)[number]);
  localStorage.setItem('lamina-theme', THEMES[(now + 1) % THEMES.length]!);
  applyTheme();
}

function applyTheme(): void {
  const theme = localStorage.getItem('lamina-theme') ?? THEMES[0];
  document.documentElement.dataset.theme = theme;
  const name = theme === 'light dark' ? 'as the system' : theme;
  byId('theme').title = `Light or dark: ${name}`;
}

const zoomIn = () => stage.zoomBy(1.6);
const zoomOut = () => stage.zoomBy(1 / 1.6);
const home = () => stage.home();
const openReviews = () => isBundle || void desk.open().catch(complain);

applyTheme();
byId('zoom-in').addEventListener('click', zoomIn);
byId('zoom-out').addEventListener('click', zoomOut);
byId('zoom-fit').addEventListener('click', home);
byId('turn-left').addEventListener('click', () => stage.rotateBy(-90));
byId('turn-right').addEventListener('click', () => stage.rotateBy(90));
byId('full-screen').addEventListener('click', fullScreen);
byId('compare').addEventListener('click', () => linked.open());
byId('link-views').addEventListener('click', () => linked.toggle());
byId('theme').addEventListener('click', nextTheme);
byId('help-button').addEventListener('click', showHelp);
byId('review-button').addEventListener('click', openReviews);
for (const button of document.querySelectorAll<HTMLButtonElement>('[data-tool]')) {
  button.addEventListener('click', () => chooseTool((button.dataset.tool || null) as Tool | null));
}
byId('what-if-chosen').addEventListener('click', () => whatIf.region(annotations.chosenRings));
for (const button of document.querySelectorAll<HTMLButtonElement>('[data-close]')) {
  button.addEventListener('click', () => button.closest('dialog')?.close());
}
byId('osd').addEventListener('contextmenu', (event) => {
  event.preventDefault();
  choosePatch();
});
stage.viewer.addHandler('animation-finish', remember);
window.addEventListener('hashchange', () => {
  const { slide, view, settings } = readPermalink(location.hash);
  if (slide !== null && slide !== shown?.id) void choose(slide, view);
  else if (view) stage.goTo(view);
  controls.settings = settings;
  if (slides) slides.settings = settings;
});
document.addEventListener('keydown', (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
  if (event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLInputElement) return;
  event.preventDefault();
  if (event.shiftKey) annotations.redo();
  else annotations.undo();
});
onKeys({
  '+': zoomIn,
  '=': zoomIn,
  '-': zoomOut,
  '0': home,
  '1': () => stage.fullResolution(),
  '<': () => stage.rotateBy(-90),
  '>': () => stage.rotateBy(90),
  ',': () => stage.rotateBy(-15),
  '.': () => stage.rotateBy(15),
  ArrowLeft: () => stage.pan(-1, 0),
  ArrowRight: () => stage.pan(1, 0),
  ArrowUp: () => stage.pan(0, -1),
  ArrowDown: () => stage.pan(0, 1),
  '[': () => controls.changeOpacity(-10),
  ']': () => controls.changeOpacity(10),
  h: () => controls.toggleHeatmap(),
  t: () => controls.toggleOutline(),
  r: () => controls.toggleScale(),
  y: () => controls.nextMap(),
  s: () => controls.toggleSmooth(),
  j: () => step(1),
  k: () => step(-1),
  '/': () => byId('filter').focus(),
  x: fullScreen,
  v: () => linked.open(),
  i: () => linked.toggle(),
  q: openReviews,
  p: () => chooseTool('polygon'),
  f: () => chooseTool('freehand'),
  b: () => chooseTool('rectangle'),
  o: () => chooseTool('point'),
  m: () => chooseTool('ruler'),
  l: () => chooseTool('lasso'),
  e: choosePatch,
  z: () => comparison.swap(),
  Escape: () => {
    if (drawing.current) return drawing.cancel();
    annotations.choose(null);
    chosen.choose(null);
  },
  Enter: () => (drawing.current ? drawing.finish() : desk.active && desk.send()),
  Backspace: () => drawing.back() || annotations.remove(),
  Delete: () => annotations.remove(),
  a: () => desk.setOpinion('agree'),
  d: () => desk.setOpinion('disagree'),
  u: () => desk.setOpinion('unsure'),
  c: () => desk.focusLabel(),
  g: () => desk.setRegion('right'),
  w: () => desk.setRegion('wrong'),
  n: () => desk.focusNote(),
  '?': showHelp,
});
start().catch(complain);
