/** Windows of the viewer that move together: two scores, two models or two slides side by side, on one screen or two. */
import type { Stage, StageView } from './stage.ts';

export class LinkedViews {
  private readonly stage: Stage;
  private readonly channel = new BroadcastChannel('lamina-view');
  private readonly onChange: (linked: boolean) => void;
  private linked = false;
  /** What another window did last: to do the same is no news. */
  private heard: StageView | null = null;

  constructor(stage: Stage, onChange: (linked: boolean) => void) {
    this.stage = stage;
    this.onChange = onChange;
    stage.viewer.addHandler('update-viewport', () => this.tell());
    this.channel.addEventListener('message', ({ data }: MessageEvent<StageView>) => {
      if (!this.linked) return;
      this.heard = data;
      stage.goTo(data, true);
    });
  }

  toggle(linked = !this.linked): void {
    this.linked = linked;
    this.heard = this.stage.view;
    this.onChange(linked);
  }

  /** Opens what is shown in a window of its own that moves along with this one. */
  open(): void {
    this.toggle(true);
    window.open(`${location.href}&linked=1`, '_blank', 'popup,width=1200,height=900');
  }

  private tell(): void {
    const { view } = this.stage;
    if (!this.linked || !view || (this.heard && same(view, this.heard))) return;
    this.heard = view;
    this.channel.postMessage(view);
  }
}

/** Within half a pixel of the screen. */
function same(a: StageView, b: StageView): boolean {
  const near = (x: number, y: number, most: number) => Math.abs(x - y) <= most;
  return (
    near(a.x, b.x, 0.5 / a.zoom) &&
    near(a.y, b.y, 0.5 / a.zoom) &&
    near(a.zoom, b.zoom, 1e-4 * a.zoom) &&
    near(a.rotation, b.rotation, 0.01)
  );
}
