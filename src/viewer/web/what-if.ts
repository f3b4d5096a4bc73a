/** What the model would say without a region, or with nothing else. */
import type OpenSeadragon from 'openseadragon';
import type { SlideView } from '../api.ts';
import type { Point } from './drawing.ts';
import { byId, element } from './element.ts';
import { count, percent } from './figures.ts';
import { askCounterfactual } from './server.ts';
import { SlideCanvas } from './slide-canvas.ts';

export class WhatIf {
  private slide: SlideView | null = null;
  private rings: Point[][] = [];
  private running: AbortController | null = null;
  private readonly canvas: SlideCanvas;
  private readonly result = byId('what-if-result');
  private readonly complain: (error: unknown) => void;

  constructor(viewer: OpenSeadragon.Viewer, complain: (error: unknown) => void) {
    this.complain = complain;
    this.canvas = new SlideCanvas(
      viewer,
      'region',
      (context, scale) => this.draw(context, scale),
      () => this.rings.length > 0,
    );
    byId('what-if-erase').addEventListener('click', () => void this.ask('erase'));
    byId('what-if-keep').addEventListener('click', () => void this.ask('keep'));
    byId('what-if-cancel').addEventListener('click', () => this.running?.abort());
  }

  show(slide: SlideView): void {
    this.running?.abort();
    this.slide = slide;
    this.result.replaceChildren();
    byId('what-if').hidden = slide.prediction === null || slide.live !== null;
    this.region([]);
  }

  /** The region that the buttons speak of. */
  region(rings: Point[][]): void {
    this.rings = rings;
    for (const id of ['what-if-erase', 'what-if-keep']) byId(id).toggleAttribute('disabled', rings.length === 0);
    byId('what-if-hint').hidden = rings.length > 0;
    this.canvas.redraw();
  }

  /** A dashed line around the region that the buttons speak of. */
  private draw(context: CanvasRenderingContext2D, screenPxPerLevel0Px: number): void {
    const pixel = window.devicePixelRatio / screenPxPerLevel0Px;
    const path = new Path2D();
    for (const ring of this.rings) {
      ring.forEach(([x, y], i) => void (i === 0 ? path.moveTo(x, y) : path.lineTo(x, y)));
      path.closePath();
    }
    context.lineWidth = 4 * pixel;
    context.strokeStyle = '#ffffff';
    context.stroke(path);
    context.lineWidth = 2 * pixel;
    context.strokeStyle = '#b3005e';
    context.setLineDash([7 * pixel, 4 * pixel]);
    context.stroke(path);
    context.setLineDash([]);
  }

  private async ask(mode: 'erase' | 'keep'): Promise<void> {
    if (!this.slide || this.rings.length === 0) return;
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    const started = performance.now();
    const show = () => {
      byId('what-if-progress').textContent =
        `The model reads the rest … ${((performance.now() - started) / 1000).toFixed(0)} s`;
    };
    byId('what-if-running').hidden = false;
    show();
    const clock = setInterval(show, 500);
    try {
      const view = await askCounterfactual(this.slide.id, { mode, rings: this.rings }, running.signal);
      const lines = view.classes.map((name, i) => {
        const change = view.after[i]! - view.before[i]!;
        const sign = change > 0 ? '+' : change < 0 ? '−' : '±';
        const points = `${sign}${(100 * Math.abs(change)).toFixed(1)}`;
        const cells = [name, percent(view.before[i]!), percent(view.after[i]!), points];
        const row = element('tr', '', ...cells.map((cell, c) => element(c === 0 ? 'th' : 'td', '', cell)));
        row.dataset.class = name;
        return row;
      });
      const head = element('tr', '', ...['Class', 'Before', 'After', 'Points'].map((cell) => element('th', '', cell)));
      const what = mode === 'erase' ? 'Without the region' : 'With the region alone';
      const took = `${count(view.kept)} of ${count(view.patches)} patches, ${Math.round(view.seconds * 1000)} ms.`;
      this.result.replaceChildren(
        element('p', 'quiet', `${what}: ${took}`),
        element('table', '', element('thead', '', head), element('tbody', '', ...lines)),
      );
    } catch (error) {
      if (running.signal.aborted) this.result.replaceChildren(element('p', 'quiet', 'Cancelled.'));
      else this.complain(error);
    } finally {
      clearInterval(clock);
      if (this.running === running) {
        this.running = null;
        byId('what-if-running').hidden = true;
      }
    }
  }
}
