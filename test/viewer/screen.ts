/** What a browser shows: its pixels, and where the slide lies on them. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import sharp from 'sharp';

export interface Placement {
  /** CSS px per level-0 px. */
  readonly zoom: number;
  toScreen(x: number, y: number): [number, number];
}

/** From what the page says under the pointer at three places: shift, zoom and turn. */
export async function turnedPlacement(page: Page): Promise<Placement> {
  const box = (await page.locator('#osd').boundingBox())!;
  const at = (u: number, v: number) => [Math.round(box.x + box.width * u), Math.round(box.y + box.height * v)] as const;
  const screen = [at(0.4, 0.4), at(0.6, 0.4), at(0.4, 0.6)] as const;
  const slide: [number, number][] = [];
  for (const place of screen) slide.push(await said(page, ...place));
  const [a, b, c] = slide as [[number, number], [number, number], [number, number]];
  // Level-0 px a CSS px, along the screen's two axes.
  const across = [
    (b[0] - a[0]) / (screen[1][0] - screen[0][0]),
    (b[1] - a[1]) / (screen[1][0] - screen[0][0]),
  ] as const;
  const down = [(c[0] - a[0]) / (screen[2][1] - screen[0][1]), (c[1] - a[1]) / (screen[2][1] - screen[0][1])] as const;
  const determinant = across[0] * down[1] - across[1] * down[0];
  return {
    zoom: 1 / Math.hypot(...across),
    toScreen: (x, y) => {
      const [dx, dy] = [x - a[0] - 0.5, y - a[1] - 0.5];
      return [
        Math.round(screen[0][0] + (dx * down[1] - dy * down[0]) / determinant),
        Math.round(screen[0][1] + (dy * across[0] - dx * across[1]) / determinant),
      ];
    },
  };
}

async function said(page: Page, x: number, y: number): Promise<[number, number]> {
  await page.mouse.move(x, y);
  const text = (await page.locator('#cursor-place').textContent())!;
  const place = /^x (\d+) y (\d+) px$/.exec(text.replaceAll(',', ''));
  if (!place) throw new Error(`The page says "${text}" at ${x}, ${y}.`);
  return [Number(place[1]), Number(place[2])];
}

/** With LAMINA_PICTURES set, keeps a screenshot small for the documentation. */
export async function keepForDocs(png: Buffer, name: string): Promise<void> {
  if (process.env.LAMINA_PICTURES === undefined) return;
  await mkdir('docs/images', { recursive: true });
  await sharp(png)
    .resize(960)
    .png({ palette: true, colours: 96 })
    .toFile(join('docs/images', `${name}.png`));
}

export interface Pixels {
  /** RGB at a CSS px. */
  at(x: number, y: number): number[];
}

export async function pixelsOf(page: Page): Promise<Pixels> {
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
  const { data, info } = await sharp(await page.screenshot())
    .removeAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { at: (x, y) => [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)] };
}

/** Waits until the picture neither moves nor gets sharper. */
export async function atRest(page: Page): Promise<void> {
  await page.waitForLoadState('networkidle');
  let last = '';
  for (let tries = 0; tries < 40; tries++) {
    await page.waitForTimeout(120);
    const now = (await page.screenshot()).toString('base64');
    if (now === last) return;
    last = now;
  }
}

/** Kept in test-artifacts to be looked at. */
export async function shoot(page: Page, name: string): Promise<Buffer> {
  await mkdir('test-artifacts/viewer', { recursive: true });
  return await page.screenshot({ path: join('test-artifacts/viewer', `${name}.png`) });
}

/** Also made small for the documentation, with LAMINA_PICTURES set. */
export async function shootForDocs(page: Page, name: string): Promise<void> {
  const png = await shoot(page, name);
  if (process.env.LAMINA_PICTURES === undefined) return;
  await mkdir('docs/images', { recursive: true });
  await sharp(png)
    .resize(960)
    .png({ palette: true, colours: 96 })
    .toFile(join('docs/images', `${name}.png`));
}

/** On how many pixels something is drawn in a layer over the slide. */
export function drawnPixels(page: Page, layer: string): Promise<number> {
  return page.evaluate((name) => {
    const canvas = document.querySelector<HTMLCanvasElement>(`canvas[data-layer="${name}"]`)!;
    const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
    let drawn = 0;
    for (let i = 3; i < data.length; i += 4) if (data[i]! > 0) drawn++;
    return drawn;
  }, layer);
}
