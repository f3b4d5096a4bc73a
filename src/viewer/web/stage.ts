/** The picture: deep zoom into one slide, and where the view and the pointer are on it. */
import OpenSeadragon from 'openseadragon';
import type { Picture } from '../api.ts';
import { rememberedDrawer, rememberFastDrawer } from './drawer.ts';
import type { Place } from './heatmap.ts';
import type { Patch } from './patch-picture.ts';
import { SlideSource } from './slide-source.ts';

/** What is seen: the middle in level-0 px, CSS px per level-0 px, and degrees clockwise. */
export interface StageView {
  readonly x: number;
  readonly y: number;
  readonly zoom: number;
  readonly rotation: number;
}

/** Arrow keys move the view by this many CSS px. */
const PAN_PX = 120;
/** Pixels of the screen along a pixel of the level that is drawn, at most. */
const MOST_ENLARGED = 1.25;
/** What waits for the picture waits no longer. */
const PATIENCE_MS = 2000;

export class Stage {
  readonly viewer: OpenSeadragon.Viewer;
  /** Where to begin with the picture that is being opened. */
  private wanted: StageView | null = null;
  /** Of the picture that is being opened. */
  private leastRatio = 0.5;
  private first: Promise<void> | null = null;
  /** Where the pointer is over the picture, in CSS px of its element. */
  private pointer: OpenSeadragon.Point | null = null;

  /** `onMove` is called whenever the view or the pointer moved, `onLostTile` for each tile that did not come. */
  constructor(host: HTMLElement, onMove: () => void, onLostTile: () => void) {
    adoptMobileStyle();
    this.viewer = new OpenSeadragon.Viewer({ ...OPTIONS, element: host, drawer: rememberedDrawer() });
    this.viewer.addHandler('update-viewport', onMove);
    this.viewer.addHandler('tile-load-failed', onLostTile);
    this.viewer.addHandler('open', () => {
      // Banners above may have come or gone with the slide.
      this.viewer.viewport.resize(new OpenSeadragon.Point(host.clientWidth, host.clientHeight), false);
      const { wanted } = this;
      if (wanted) {
        this.goTo(wanted, true);
        // The viewer scales the picture with its frame, whose new size it sees in the next one or two.
        requestAnimationFrame(() => requestAnimationFrame(() => this.wanted === wanted && this.goTo(wanted, true)));
      } else this.home(true);
      if (this.image) Object.assign(this.image, { minPixelRatio: this.leastRatio });
    });
    this.viewer.addHandler('canvas-key', (event) => {
      event.preventDefaultAction = true; // its keys also mirror the picture
    });
    host.addEventListener('pointermove', ({ clientX, clientY }) => {
      const { left, top } = host.getBoundingClientRect();
      this.pointer = new OpenSeadragon.Point(clientX - left, clientY - top);
      onMove();
    });
    host.addEventListener('pointerleave', () => {
      this.pointer = null;
      onMove();
    });
  }

  /** Shows a slide's picture, or nothing; at a view, else whole. Resolves when it is as sharp as the screen, or is late. */
  show(id: string, picture: Picture | null, view: StageView | null = null): Promise<void> {
    this.wanted = view;
    if (!picture) {
      this.viewer.close();
      return Promise.resolve();
    }
    this.leastRatio = leastRatio(picture);
    const settled = new Promise<void>((resolve) => {
      this.viewer.addOnceHandler('open', () => this.viewer.whenFullyLoaded(resolve));
      setTimeout(resolve, PATIENCE_MS);
    });
    this.viewer.open({ tileSource: new SlideSource(id, picture) });
    this.first ??= settled.then(rememberFastDrawer);
    return settled;
  }

  /**
   * Lays another slide over this one, corner on corner, `scale` of this one's level-0 px a level-0 px of its own; null takes it
   * away. Unseen until it is given an opacity.
   */
  async overlay(other: { id: string; picture: Picture; scale: number } | null): Promise<void> {
    const { viewer, image } = this;
    const former = viewer.world.getItemAt(1);
    if (former) viewer.world.removeItem(former);
    if (!other || !image) return;
    const { id, picture, scale } = other;
    const width = (picture.width * scale) / image.getContentSize().x;
    await new Promise<void>((success, error) => {
      const tileSource = new SlideSource(id, picture);
      viewer.addTiledImage({ tileSource, x: 0, y: 0, width, opacity: 0, success: () => success(), error });
    });
  }

  /** 0..1. */
  setOverlayOpacity(opacity: number): void {
    this.viewer.world.getItemAt(1)?.setOpacity(opacity);
  }

  /** CSS px per level-0 px; null without a picture. */
  get zoom(): number | null {
    return this.image?.viewportToImageZoom(this.viewer.viewport.getZoom(true)) ?? null;
  }

  /** The place of the slide under the pointer; null when it is elsewhere. */
  get place(): Place | null {
    const image = this.image;
    if (!image || !this.pointer) return null;
    const { x, y } = image.viewerElementToImageCoordinates(this.pointer);
    const { x: width, y: height } = image.getContentSize();
    return x >= 0 && y >= 0 && x < width && y < height ? { x, y } : null;
  }

  /** The place of the slide in the middle of the view. */
  get middle(): Place | null {
    const { view } = this;
    return view && { x: view.x, y: view.y };
  }

  /** Null without a picture. */
  get view(): StageView | null {
    const { zoom, image } = this;
    if (zoom === null || !image) return null;
    const { x, y } = image.viewportToImageCoordinates(this.viewer.viewport.getCenter(true));
    return { x, y, zoom, rotation: this.viewer.viewport.getRotation(true) };
  }

  goTo({ x, y, zoom, rotation }: StageView, immediately = false): void {
    const { image } = this;
    if (!image) return;
    const { viewport } = this.viewer;
    viewport.setRotation(rotation, immediately);
    viewport.zoomTo(image.imageToViewportZoom(zoom), undefined, immediately);
    viewport.panTo(image.imageToViewportCoordinates(x, y), immediately);
  }

  /** Brings a patch into the middle, in its surroundings. */
  flyTo(patch: Patch): void {
    this.goTo(this.viewOf(patch));
  }

  viewOf({ x, y, side }: Patch): StageView {
    const shown = Math.min(this.viewer.container.clientWidth, this.viewer.container.clientHeight);
    const zoom = Math.min(1, shown / side / 4);
    return { x: x + side / 2, y: y + side / 2, zoom, rotation: this.viewer.viewport?.getRotation() ?? 0 };
  }

  /** CSS px per level-0 px, around the middle. */
  zoomTo(zoom: number): void {
    if (this.image) this.viewer.viewport.zoomTo(this.image.imageToViewportZoom(zoom)).applyConstraints();
  }

  rotateBy(degrees: number): void {
    this.viewer.viewport?.setRotation(this.viewer.viewport.getRotation() + degrees);
  }

  zoomBy(factor: number): void {
    this.viewer.viewport?.zoomBy(factor).applyConstraints();
  }

  /** Moves the view by steps to the right and down. */
  pan(right: number, down: number): void {
    const pixels = new OpenSeadragon.Point(PAN_PX * right, PAN_PX * down);
    this.viewer.viewport?.panBy(this.viewer.viewport.deltaPointsFromPixels(pixels)).applyConstraints();
  }

  /** The whole slide. */
  home(immediately = false): void {
    this.viewer.viewport?.setRotation(0, immediately);
    this.viewer.viewport?.goHome(immediately);
  }

  /** One pixel of the slide a CSS px. */
  fullResolution(): void {
    this.zoomTo(1);
  }

  private get image(): OpenSeadragon.TiledImage | undefined {
    return this.viewer.world.getItemAt(0);
  }
}

const OPTIONS: OpenSeadragon.Options = {
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
  imageLoaderLimit: 16, // the tiles of a field in one frame: with 8, half of them wait for the next, drawn by a machine without a graphics card
  maxImageCacheCount: 1500,
  maxTilesPerFrame: 32, // one, as it is otherwise, makes a field as slow as the frames of a machine without a graphics card
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.4,
  animationTime: 0.4,
  springStiffness: 9,
  zoomPerScroll: 1.25,
  placeholderFillStyle: '#f4f4f4',
};

/**
 * The least that a level may be enlarged, screen px per pixel of the level, before the next coarser one is sharp enough: so that
 * none is ever enlarged by more than MOST_ENLARGED, and none is read that is finer than the screen shows.
 */
function leastRatio({ levels }: Picture): number {
  const steps = levels.slice(1).map(({ scaleX }, i) => scaleX / levels[i]!.scaleX);
  return MOST_ENLARGED / Math.max(2, ...steps) / window.devicePixelRatio;
}

/**
 * OpenSeadragon adds a style element unless it finds this one, and the page's CSP forbids styles in elements. Outside HTML's
 * namespace it is found but styles nothing.
 */
function adoptMobileStyle(): void {
  const style = document.createElementNS('lamina', 'style');
  style.setAttribute('data-openseadragon-mobile-css', '');
  document.head.append(style);
}
