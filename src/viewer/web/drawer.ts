/**
 * What draws the picture: WebGL where a graphics card does it, else a plain canvas, which is far faster than emulated WebGL, as
 * on many hospital desktops. To ask keeps the first picture waiting, so the page draws on a canvas until it has asked once, when
 * the picture is there; the answer holds from the next opening on.
 */
const KEY = 'lamina-drawer';

export type Drawer = 'webgl' | 'canvas';

export function rememberedDrawer(): Drawer {
  return localStorage.getItem(KEY) === 'webgl' ? 'webgl' : 'canvas';
}

export function rememberFastDrawer(): void {
  localStorage.setItem(KEY, fastDrawer());
}

function fastDrawer(): Drawer {
  const context = document.createElement('canvas').getContext('webgl2', { failIfMajorPerformanceCaveat: true });
  const names = context?.getExtension('WEBGL_debug_renderer_info');
  const renderer: unknown = names && context?.getParameter(names.UNMASKED_RENDERER_WEBGL);
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return context && !/swiftshader|llvmpipe|software|basic render/i.test(String(renderer)) ? 'webgl' : 'canvas';
}
