/** HTML as a tagged template: whatever is put in is escaped, unless it is HTML already. */

export interface Html {
  readonly markup: string;
}

type Part = string | number | Html | null | readonly Part[];

/** @example html`<td>${slide.name}</td>` */
export function html(texts: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return { markup: texts.map((text, i) => text + (i < parts.length ? markupOf(parts[i]!) : '')).join('') };
}

/** Markup that is known to be well-formed, such as a drawing's. */
export function trusted(markup: string): Html {
  return { markup };
}

function markupOf(part: Part): string {
  if (part === null) return '';
  if (typeof part === 'string' || typeof part === 'number') return escapeHtml(String(part));
  return 'markup' in part ? part.markup : part.map(markupOf).join('');
}

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character]!);
}

/** The first column is the row's name; numbers stand right. */
export function table(head: readonly string[], rows: readonly (readonly Part[])[], caption: string): Html {
  const cell = (part: Part, column: number) =>
    column === 0 ? html`<th scope="row">${part}</th>` : html`<td>${part}</td>`;
  return html`<div class="scroll" tabindex="0"><table><caption>${caption}</caption>
<thead><tr>${head.map((name) => html`<th scope="col">${name}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map(cell)}</tr>\n`)}</tbody></table></div>`;
}

/** Of a number that may be undefined; in a report that is a dash, never a zero. */
export function figure(value: number | null | undefined, digits = 3): string {
  return value === null || value === undefined ? '–' : value.toFixed(digits);
}

export function pValue(p: number | null): string {
  return p === null ? '–' : p < 0.001 ? '< 0.001' : p.toFixed(3);
}
