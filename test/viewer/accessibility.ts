/** What axe-core finds wrong with a page for people who cannot see or point well. */
import { readFile } from 'node:fs/promises';
import type { Page } from 'playwright-core';

export interface Finding {
  readonly id: string;
  readonly impact: string;
  readonly at: readonly string[];
}

interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly target: readonly string[] }[];
}

/** The page must have been opened with `bypassCSP`. */
export async function seriousFindings(page: Page): Promise<Finding[]> {
  await page.addScriptTag({ content: await readFile('node_modules/axe-core/axe.min.js', 'utf8') });
  const found = await page.evaluate(async () => {
    const { axe } = globalThis as unknown as { axe: { run(): Promise<{ violations: Violation[] }> } };
    return (await axe.run()).violations.map(({ id, impact, nodes }) => ({
      id,
      impact,
      at: nodes.map(({ target }) => target.join(' ')),
    }));
  });
  return found.filter(({ impact }) => impact === 'serious' || impact === 'critical');
}
