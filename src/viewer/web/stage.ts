/** The picture: deep zoom into one slide, and where the view and the pointer are on it. */
import OpenSeadragon from 'openseadragon';
import type { Picture } from '../api.ts';
import { SlideSource } from './slide-source.ts';

export interface Place {
  /** Level-0 px. */
  readonly x: number;
  readonly y: number;
}

/** Arrow keys move the view by this many CSS px. */
const PAN_PX = 120;

export class Stage {
  readonly viewer: OpenSeadragon.Viewer;
  /** Where the pointer is over the picture, in CSS px of its element. */
  private pointer: OpenSeadragon.Point | null = null;

  /** `onMove` is called whenever the view or the pointer moved, `onLostTile` for each tile that did not come. */
  constructor(host: HTMLElement, onMove: () => void, onLostTile: () => void) {
    adoptMobileStyle();
    this.viewer = new OpenSeadragon.Viewer({ ...OPTIONS, element: host, drawer: fastDrawer() });
    this.viewer.addHandler('update-viewport', onMove);
    this.viewer.addHandler('tile-load-failed', onLostTile);
    this.viewer.addHandler('open', () => {
      // Banners above may have come or gone with the slide.
      this.viewer.viewport.resize(new OpenSeadragon.Point(host.clientWidth, host.clientHeight), false);
      this.home(true);
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

  /** Shows a slide's picture, or nothing. */
  show(id: string, picture: Picture | null): void {
    if (picture) this.viewer.open({ tileSource: new SlideSource(id, picture) });
    else this.viewer.close();
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
    this.viewer.viewport?.goHome(immediately);
  }

  /** One pixel of the slide a CSS px. */
  fullResolution(): void {
    if (this.image) this.viewer.viewport.zoomTo(this.image.imageToViewportZoom(1)).applyConstraints();
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
  imageLoaderLimit: 8,
  maxImageCacheCount: 1500,
  minPixelRatio: 0.34, // levels may lie 4x apart: rather shrink the finer one than blur the coarser one
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.4,
  animationTime: 0.4,
  springStiffness: 9,
  zoomPerScroll: 1.25,
  placeholderFillStyle: '#f4f4f4',
};

/** WebGL where a graphics card does it; emulated, as on many hospital desktops, it is far slower than a plain canvas. */
function fastDrawer(): 'webgl' | 'canvas' {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  const names = context?.getExtension('WEBGL_debug_renderer_info');
  const renderer: unknown = names && context?.getParameter(names.UNMASKED_RENDERER_WEBGL);
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return context && !/swiftshader|llvmpipe|software|basic render/i.test(String(renderer)) ? 'webgl' : 'canvas';
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
