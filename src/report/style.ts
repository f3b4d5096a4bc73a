/** How a report looks, on a light and on a dark screen, and on paper. */
export const STYLE = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5a6470; --line: #d8dde3; --back: #ffffff; --tint: #2a5fb5; --warn: #9a4a00; --warn-back: #fff4e5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #a0a9b4; --line: #353b43; --back: #15181c; --tint: #6f9fe8; --warn: #ffb86b; --warn-back: #2b2013; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 16px; border-top: 1px solid var(--line); overflow-wrap: anywhere; }
h3 { font-size: 15px; margin: 28px 0 4px; }
.lead { list-style: none; margin: 0; padding: 0; font-size: 17px; }
.lead b { font-weight: 650; }
.note, figcaption, caption { color: var(--soft); font-size: 13px; }
.note { max-width: 80ch; }
.warnings { background: var(--warn-back); border-left: 3px solid var(--warn); padding: 4px 16px; margin-top: 20px; }
.warnings h2 { border: 0; margin: 8px 0 0; padding: 0; font-size: 15px; color: var(--warn); }
.warnings ul { margin: 4px 0 8px; padding-left: 20px; }
.scroll { overflow-x: auto; margin: 10px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: 4px; white-space: nowrap; }
th, td { padding: 5px 12px 5px 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 500; font-size: 13px; white-space: normal; vertical-align: bottom; }
th:first-child { text-align: left; font-weight: 500; max-width: 360px; overflow-wrap: break-word; white-space: normal; }
.range { color: var(--soft); font-size: 13px; }
.confusion td { padding: 8px 14px; min-width: 92px; }
.confusion td.right { background: color-mix(in srgb, #2f9e6e calc(var(--share) * 45%), transparent); }
.confusion td.wrong { background: color-mix(in srgb, #d1622b calc(var(--share) * 45%), transparent); }
.confusion .range { color: inherit; }
.charts { display: flex; flex-wrap: wrap; gap: 24px 40px; align-items: flex-start; }
figure { margin: 8px 0; max-width: 100%; }
figure svg { display: block; max-width: 100%; height: auto; }
figcaption { max-width: 330px; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 2px 16px; margin: 0 0 4px; padding: 0; font-size: 13px; max-width: 420px; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 2px; margin-right: 6px; vertical-align: -1px; }
a { color: var(--tint); }
code { font: 12.5px/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; }
@media print { .charts, table, figure { break-inside: avoid; } main { padding: 0; } }
`;
