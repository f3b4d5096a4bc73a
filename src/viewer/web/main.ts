/** The page: a list of slides, the chosen one in deep zoom with its heatmap, and what is known about it. */
import type { SlideView } from '../api.ts';
import { byId } from './element.ts';
import { count, figure, percent } from './figures.ts';
import { Heatmap } from './heatmap.ts';
import { HeatmapControls } from './heatmap-controls.ts';
import { onKeys } from './keys.ts';
import { Outline } from './outline.ts';
import { showBanners, showPanel, slideBanners } from './panel.ts';
import { drawScaleBar } from './scale-bar.ts';
import { getRun, getScores, getSlide, getSlides, getTissue } from './server.ts';
import { SlideList } from './slide-list.ts';
import { Stage } from './stage.ts';

const stage = new Stage(byId('osd'), showPosition, () => {
  lostTiles++;
  banners();
});
const heatmap = new Heatmap(stage.viewer);
const outline = new Outline(stage.viewer);
const controls = new HeatmapControls(heatmap, outline, () => {
  const { signal } = loading;
  showScores(signal).catch((error) => signal.aborted || complain(error));
});

let slides: SlideList | null = null;
let runWarnings: readonly string[] = [];
let shown: SlideView | null = null;
/** Ends what is being loaded for the slide before. */
let loading = new AbortController();
/** Tiles of the shown slide that did not come. */
let lostTiles = 0;

async function start(): Promise<void> {
  const [run, entries] = await Promise.all([getRun(), getSlides()]);
  runWarnings = run.warnings;
  byId('run-name').textContent = run.finishedAt ? run.name : `${run.name} (not finished)`;
  document.title = `${run.name} · Lamina`;
  if (entries.length === 0) throw new Error('This run has no slides yet. Reload the page when the first one is done.');
  slides = new SlideList(entries, choose);
  const asked = entries.find(({ id }) => id === slideOfAddress());
  await choose((asked ?? entries.find(({ status }) => status === 'done') ?? entries[0]!).id);
}

async function choose(id: string): Promise<void> {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  slides?.mark(id);
  history.replaceState(null, '', `#slide=${encodeURIComponent(id)}`);
  try {
    shown = await getSlide(id, signal);
    lostTiles = 0;
    showSlide(shown);
    await Promise.all([showScores(signal), showOutline(signal)]);
  } catch (error) {
    if (!signal.aborted) complain(error);
  }
}

/** All of a slide but its scores and outline, which are still to come. */
function showSlide(slide: SlideView): void {
  showPanel(slide);
  banners();
  controls.offer(slide);
  heatmap.show(null);
  outline.show(null);
  byId('scale-bar').hidden = true;
  byId('view').classList.toggle('empty', slide.picture === null);
  byId('no-picture').textContent = slide.pictureProblem === null ? '' : `There is no picture. ${slide.pictureProblem}`;
  stage.show(slide.id, slide.picture);
  showPosition();
}

async function showScores(signal: AbortSignal): Promise<void> {
  if (!shown?.facts || !controls.chosenColumn) return;
  const side = shown.facts.patchLevel0Px;
  heatmap.show(await getScores(shown.id, controls.chosenColumn, signal), side);
  controls.showLegend();
}

async function showOutline(signal: AbortSignal): Promise<void> {
  if (shown?.hasTissue) outline.show(await getTissue(shown.id, signal));
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
function magnification(zoom: number): string {
  const full = shown?.facts?.objectivePower ?? (shown?.facts?.mpp && 10 / shown.facts.mpp);
  return full ? `${figure(full * zoom)}×` : `${percent(zoom)} of full size`;
}

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
  if (next && next !== shown?.id) void choose(next);
}

function slideOfAddress(): string | null {
  return new URLSearchParams(location.hash.slice(1)).get('slide');
}

function showHelp(): void {
  byId<HTMLDialogElement>('help').showModal();
}

const zoomIn = () => stage.zoomBy(1.6);
const zoomOut = () => stage.zoomBy(1 / 1.6);
const home = () => stage.home();

byId('zoom-in').addEventListener('click', zoomIn);
byId('zoom-out').addEventListener('click', zoomOut);
byId('zoom-fit').addEventListener('click', home);
byId('help-button').addEventListener('click', showHelp);
window.addEventListener('hashchange', () => {
  const id = slideOfAddress();
  if (id !== null && id !== shown?.id) void choose(id);
});
onKeys({
  '+': zoomIn,
  '=': zoomIn,
  '-': zoomOut,
  '0': home,
  '1': () => stage.fullResolution(),
  ArrowLeft: () => stage.pan(-1, 0),
  ArrowRight: () => stage.pan(1, 0),
  ArrowUp: () => stage.pan(0, -1),
  ArrowDown: () => stage.pan(0, 1),
  '[': () => controls.changeOpacity(-10),
  ']': () => controls.changeOpacity(10),
  h: () => controls.toggleHeatmap(),
  t: () => controls.toggleOutline(),
  r: () => controls.toggleScale(),
  j: () => step(1),
  k: () => step(-1),
  '/': () => byId('filter').focus(),
  '?': showHelp,
});
start().catch(complain);
