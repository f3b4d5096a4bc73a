/** The page: a list of slides, the chosen one in deep zoom with its heatmap, and what is known about it. */
import OpenSeadragon from 'openseadragon';
import type { SlideView } from '../api.ts';
import { byId } from './element.ts';
import { count, figure, percent } from './figures.ts';
import { Heatmap, type ScoreScale } from './heatmap.ts';
import { onKeys } from './keys.ts';
import { Outline } from './outline.ts';
import { showBanners, showPanel, slideBanners } from './panel.ts';
import { drawScaleBar } from './scale-bar.ts';
import { getRun, getScores, getSlide, getSlides, getTissue } from './server.ts';
import { SlideList } from './slide-list.ts';
import { SlideSource } from './slide-source.ts';
import { VIRIDIS_PIXELS } from './viridis.ts';

// OpenSeadragon adds a style element unless it finds this one, and the page's CSP forbids styles in elements. Outside HTML's
// namespace it is found but styles nothing.
const mobileStyle = document.createElementNS('lamina', 'style');
mobileStyle.setAttribute('data-openseadragon-mobile-css', '');
document.head.append(mobileStyle);

const viewer = new OpenSeadragon.Viewer({
  element: byId('osd'),
  drawer: fastDrawer(),
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: 'ABSOLUTE',
  navigatorTop: '12px',
  navigatorLeft: '12px',
  navigatorWidth: '168px',
  navigatorHeight: '128px',
  navigatorOpacity: 1,
  navigatorAutoFade: false,
  navigatorBackground: '#e8e8e8',
  navigatorBorderColor: '#8a949e',
  navigatorDisplayRegionColor: '#c0392b',
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  imageLoaderLimit: 8,
  maxImageCacheCount: 1500,
  minPixelRatio: 0.34, // levels may lie 4x apart: rather shrink the finer one than blur the coarser one
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.4,
  animationTime: 0.4,
  springStiffness: 9,
  zoomPerScroll: 1.25,
  placeholderFillStyle: '#f4f4f4',
});
const heatmap = new Heatmap(viewer);
const outline = new Outline(viewer);

const columnChoice = byId<HTMLSelectElement>('score-column');
const opacity = byId<HTMLInputElement>('opacity');
const heatmapShown = byId<HTMLInputElement>('heatmap-shown');
const outlineShown = byId<HTMLInputElement>('outline-shown');

let slides: SlideList | null = null;
let shown: SlideView | null = null;
/** Ends what is being loaded for the slide before. */
let loading = new AbortController();
let runWarnings: readonly string[] = [];
/** Tiles of this slide that did not come. */
let lostTiles = 0;
/** Where the pointer is over the picture, in CSS px. */
let pointer: OpenSeadragon.Point | null = null;

/** WebGL where a graphics card does it; emulated, as on many hospital desktops, it is far slower than a plain canvas. */
function fastDrawer(): 'webgl' | 'canvas' {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  const names = context?.getExtension('WEBGL_debug_renderer_info');
  const renderer: unknown = names && context?.getParameter(names.UNMASKED_RENDERER_WEBGL);
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return context && !/swiftshader|llvmpipe|software|basic render/i.test(String(renderer)) ? 'webgl' : 'canvas';
}

async function start(): Promise<void> {
  const [run, entries] = await Promise.all([getRun(), getSlides()]);
  runWarnings = run.warnings;
  byId('run-name').textContent = run.finishedAt ? run.name : `${run.name} (not finished)`;
  document.title = `${run.name} · Lamina`;
  if (entries.length === 0) throw new Error('This run has no slides yet. Reload the page when the first one is done.');
  slides = new SlideList(entries, (id) => choose(id));
  const asked = slideOfAddress();
  const first =
    entries.find((entry) => entry.id === asked) ?? entries.find((entry) => entry.status === 'done') ?? entries[0]!;
  await choose(first.id);
}

async function choose(id: string): Promise<void> {
  loading.abort();
  loading = new AbortController();
  const { signal } = loading;
  slides?.mark(id);
  history.replaceState(null, '', `#slide=${encodeURIComponent(id)}`);
  try {
    const slide = await getSlide(id, signal);
    shown = slide;
    lostTiles = 0;
    showPanel(slide);
    banners();
    openPicture(slide);
    offerColumns(slide);
    await Promise.all([showScores(signal), showOutline(slide, signal)]);
  } catch (error) {
    if (!signal.aborted) complain(error);
  }
}

function openPicture(slide: SlideView): void {
  heatmap.show(null);
  outline.show(null);
  byId('scale-bar').hidden = true;
  byId('magnification').textContent = '';
  byId('view').classList.toggle('empty', slide.picture === null);
  byId('no-picture').textContent = slide.pictureProblem === null ? '' : `There is no picture. ${slide.pictureProblem}`;
  if (slide.picture) viewer.open({ tileSource: new SlideSource(slide.id, slide.picture) });
  else viewer.close();
}

function offerColumns(slide: SlideView): void {
  columnChoice.replaceChildren(...slide.scoreColumns.map((column) => new Option(columnName(column), column)));
  byId('heatmap-controls').hidden = slide.scoreColumns.length === 0;
  byId('scores-problem').hidden = slide.scoresProblem === null;
  byId('scores-problem').textContent = slide.scoresProblem ?? '';
  byId('outline-shown').parentElement!.hidden = !slide.hasTissue;
}

function columnName(column: string): string {
  const words = column.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}

async function showScores(signal: AbortSignal): Promise<void> {
  if (!shown?.facts || !columnChoice.value) return;
  const side = shown.facts.patchLevel0Px;
  heatmap.show(await getScores(shown.id, columnChoice.value, signal), side);
  drawLegend();
}

async function showOutline(slide: SlideView, signal: AbortSignal): Promise<void> {
  if (slide.hasTissue) outline.show(await getTissue(slide.id, signal));
}

function scoreScale(): ScoreScale {
  return document.querySelector<HTMLInputElement>('input[name="score-scale"]:checked')!.value as ScoreScale;
}

function drawLegend(): void {
  const raw = scoreScale() === 'raw';
  const range = heatmap.range;
  byId('legend').hidden = range === null;
  if (!range) return;
  byId('legend-low').textContent = raw ? figure(range.low) : 'lowest';
  byId('legend-high').textContent = raw ? figure(range.high) : 'highest';
  byId('legend-caption').textContent = raw
    ? 'Colour follows the score itself.'
    : 'Colour follows the rank among the patches of this slide.';
}

function paintLegendBar(): void {
  const context = byId<HTMLCanvasElement>('legend-bar').getContext('2d')!;
  const picture = new ImageData(256, 1);
  new Uint32Array(picture.data.buffer).set(VIRIDIS_PIXELS);
  context.putImageData(picture, 0, 0);
}

/** What depends on the zoom alone. */
function showZoom(): void {
  const picture = viewer.world.getItemAt(0);
  if (!picture || !shown?.facts) return;
  const zoom = picture.viewportToImageZoom(viewer.viewport.getZoom(true));
  drawScaleBar(zoom, shown.facts.mpp);
  // A microscope's magnification is that of its objective; 10x is taken as 1 um per pixel, as scanners do.
  const full = shown.facts.objectivePower ?? (shown.facts.mpp && 10 / shown.facts.mpp);
  byId('magnification').textContent = full ? `${figure(full * zoom)}×` : `${percent(zoom)} of full size`;
}

function showCursor(): void {
  const picture = viewer.world.getItemAt(0);
  const place = pointer && picture ? picture.viewerElementToImageCoordinates(pointer) : null;
  const inside =
    place &&
    shown?.facts &&
    place.x >= 0 &&
    place.y >= 0 &&
    place.x < shown.facts.width &&
    place.y < shown.facts.height;
  byId('cursor-place').textContent = inside
    ? `x ${count(Math.floor(place.x))}, y ${count(Math.floor(place.y))} px`
    : '';
  const score = inside && heatmapShown.checked ? heatmap.at(place.x, place.y) : null;
  byId('cursor-score').textContent = score
    ? `${columnName(columnChoice.value)} ${figure(score.value)}, above ${percent(score.percentile)} of patches`
    : '';
}

function setOpacity(): void {
  byId('opacity-text').textContent = `${opacity.value} %`;
  heatmap.setOpacity(Number(opacity.value) / 100);
}

function changeOpacity(step: number): void {
  opacity.value = String(Number(opacity.value) + step);
  setOpacity();
}

function toggle(box: HTMLInputElement): void {
  box.checked = !box.checked;
  box.dispatchEvent(new Event('change'));
}

function toggleScale(): void {
  const other = document.querySelector<HTMLInputElement>('input[name="score-scale"]:not(:checked)')!;
  other.checked = true;
  other.dispatchEvent(new Event('change', { bubbles: true }));
}

function zoomBy(factor: number): void {
  viewer.viewport.zoomBy(factor).applyConstraints();
}

function pan(x: number, y: number): void {
  const distance = viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(120 * x, 120 * y));
  viewer.viewport.panBy(distance).applyConstraints();
}

function fullResolution(): void {
  const picture = viewer.world.getItemAt(0);
  if (picture) viewer.viewport.zoomTo(picture.imageToViewportZoom(1)).applyConstraints();
}

function step(places: number): void {
  const next = slides?.neighbour(shown?.id ?? null, places);
  if (next && next !== shown?.id) void choose(next);
}

function slideOfAddress(): string | null {
  return new URLSearchParams(location.hash.slice(1)).get('slide');
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

for (const event of ['update-viewport', 'open'] as const) {
  viewer.addHandler(event, () => {
    showZoom();
    showCursor();
  });
}
viewer.addHandler('canvas-key', (event) => {
  event.preventDefaultAction = true; // its keys also mirror the picture; ours are in keys.ts
});
viewer.addHandler('tile-load-failed', () => {
  lostTiles++;
  banners();
});
byId('osd').addEventListener('pointermove', (event) => {
  const box = byId('osd').getBoundingClientRect();
  pointer = new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top);
  showCursor();
});
byId('osd').addEventListener('pointerleave', () => {
  pointer = null;
  showCursor();
});
byId('zoom-in').addEventListener('click', () => zoomBy(1.6));
byId('zoom-out').addEventListener('click', () => zoomBy(1 / 1.6));
byId('zoom-fit').addEventListener('click', () => viewer.viewport.goHome());
byId('help-button').addEventListener('click', () => byId<HTMLDialogElement>('help').showModal());
opacity.addEventListener('input', setOpacity);
heatmapShown.addEventListener('change', () => heatmap.setVisible(heatmapShown.checked));
outlineShown.addEventListener('change', () => outline.setVisible(outlineShown.checked));
columnChoice.addEventListener('change', () => {
  showScores(loading.signal).catch((error) => loading.signal.aborted || complain(error));
});
for (const choice of document.querySelectorAll('input[name="score-scale"]')) {
  choice.addEventListener('change', () => {
    heatmap.setScale(scoreScale());
    drawLegend();
  });
}
window.addEventListener('hashchange', () => {
  const id = slideOfAddress();
  if (id !== null && id !== shown?.id) void choose(id);
});
onKeys({
  '+': () => zoomBy(1.6),
  '=': () => zoomBy(1.6),
  '-': () => zoomBy(1 / 1.6),
  '0': () => viewer.viewport.goHome(),
  '1': fullResolution,
  ArrowLeft: () => pan(-1, 0),
  ArrowRight: () => pan(1, 0),
  ArrowUp: () => pan(0, -1),
  ArrowDown: () => pan(0, 1),
  '[': () => changeOpacity(-10),
  ']': () => changeOpacity(10),
  h: () => toggle(heatmapShown),
  t: () => toggle(outlineShown),
  r: toggleScale,
  j: () => step(1),
  k: () => step(-1),
  '/': () => byId('filter').focus(),
  '?': () => byId<HTMLDialogElement>('help').showModal(),
});

paintLegendBar();
setOpacity();
start().catch(complain);
