"""The look of a report: one style sheet for screen, phone, dark mode and print.

Charts use the same variables (``--ink``, ``--first`` …), so a drawing follows the reader's light or dark mode.
"""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1b1f24; --soft: #59636e; --line: #dfe3e8;
  --first: #1f5fbf; --second: #c2570c; --good: #1a7f4b; --warning: #8a6100; --problem: #b42318;
  --text: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "PingFang SC", "Microsoft YaHei",
    "Noto Sans CJK SC", "Noto Sans", sans-serif;
  --code: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", "Noto Sans Mono CJK SC", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --panel: #1c2024; --ink: #e6e8eb; --soft: #9aa4af; --line: #30363d;
    --first: #6ea8fe; --second: #f0975a; --good: #56c58a; --warning: #dcae3f; --problem: #f2796b;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 64rem;
  background: var(--paper); color: var(--ink); font: 1rem/1.55 var(--text); overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 1.9rem; line-height: 1.2; font-weight: 650; letter-spacing: -0.01em; }
h2 { margin: 0 0 0.9rem; font-size: 1.25rem; line-height: 1.3; font-weight: 650; }
h3 { margin: 0 0 0.5rem; font-size: 0.95rem; font-weight: 600; }
p { margin: 0 0 0.8rem; max-width: 46rem; }
.subtitle, .note, figcaption, caption, .detail { color: var(--soft); }
.subtitle { margin: 0.35rem 0 0; }
.note { margin-top: -0.5rem; font-size: 0.93rem; }
.lead { font-size: 1.1rem; max-width: none; text-wrap: balance; }
nav { margin-top: 1.1rem; display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; font-size: 0.9rem; }
nav a { color: var(--first); text-decoration: none; }
nav a:hover { text-decoration: underline; }
section { margin-top: 2.2rem; padding-top: 1.6rem; border-top: 1px solid var(--line); }
section > *:last-child { margin-bottom: 0; }
.block { margin: 0 0 1.4rem; }
.scroll { overflow-x: auto; }

.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.6rem, 1fr)); gap: 0.7rem; }
.tiles div { padding: 0.7rem 0.9rem; background: var(--panel); border-radius: 8px; min-width: 0; }
.tiles dt { font-size: 0.83rem; color: var(--soft); }
.tiles dd { margin: 0.1rem 0 0; font-size: 1.15rem; font-weight: 600; line-height: 1.3; overflow-wrap: anywhere; }
.pairs { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; font-size: 0.93rem; }
.pairs > div { display: contents; }
.pairs dt, .pairs dd { margin: 0; padding: 0.32rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.pairs dt { padding-right: 1.6rem; color: var(--soft); }
.pairs dd { font-variant-numeric: tabular-nums; }
.pairs > div:last-child > * { border-bottom: 0; }

table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; padding-bottom: 0.4rem; }
th, td { padding: 0.32rem 1.4rem 0.32rem 0; border-bottom: 1px solid var(--line); }
th, td { text-align: left; vertical-align: top; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
td { overflow-wrap: anywhere; }
td:first-child { min-width: min(10rem, 28vw); }
.number { text-align: right; }
.number, .short { white-space: nowrap; }
.long { min-width: min(18rem, 60vw); }
details { margin: 0.6rem 0 0; }
summary { cursor: pointer; color: var(--first); font-size: 0.93rem; padding: 0.2rem 0; }
details[open] > summary { margin-bottom: 0.5rem; }

figure { margin: 0; }
figure svg, figure img { display: block; max-width: 100%; height: auto; }
figure svg * { stroke-linejoin: round; }
figure svg text { font-family: var(--text); }
figcaption { margin-top: 0.4rem; font-size: 0.88rem; line-height: 1.45; max-width: 46rem; }
img { image-rendering: pixelated; }
img.smooth { image-rendering: auto; }
.beside { display: flex; flex-wrap: wrap; gap: 0.9rem; align-items: flex-start; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.4rem 2rem; }
.columns > * { margin: 0; min-width: 0; }
.columns .block:last-child { margin-bottom: 0; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.2rem, 1fr)); gap: 0.9rem; }
.gallery.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.gallery figure { padding: 0.6rem; background: var(--panel); border-radius: 8px; min-width: 0; }
.row { display: flex; flex-wrap: wrap; gap: 3px; justify-content: center; }
.gallery img { border-radius: 2px; max-height: 10rem; }
.gallery.wide .row { display: grid; grid-template-columns: repeat(6, 1fr); align-items: center; }
.gallery.wide img { width: 100%; }
.gallery figcaption { color: var(--ink); overflow-wrap: anywhere; }
.gallery .detail { display: block; font-size: 0.8rem; }

pre {
  margin: 0; padding: 0.75rem 0.9rem; background: var(--panel); border-radius: 8px; overflow-x: auto;
  font: 0.85rem/1.5 var(--code); tab-size: 4;
}
pre.whole { user-select: all; -webkit-user-select: all; white-space: pre-wrap; overflow-wrap: anywhere; }
.shaded { padding: 0.7rem 0.9rem; background: var(--panel); border-radius: 8px; margin-bottom: 0.7rem; }
.shaded p { margin: 0.3rem 0 0; max-width: none; line-height: 1.75; }
.shaded .heading { margin: 0; font-weight: 600; font-size: 0.93rem; line-height: 1.4; }
.shaded .detail { font-weight: 400; font-size: 0.83rem; margin-left: 0.7rem; }
.shaded span[style] {
  padding: 0.1em 0.15em; border-radius: 3px;
  background: color-mix(in srgb, var(--first) calc(0.5 * var(--w)), transparent);
}
.shaded .against[style] { background: color-mix(in srgb, var(--second) calc(0.5 * var(--w)), transparent); }
.shaded .unknown { text-decoration: underline dotted var(--soft); text-underline-offset: 0.2em; }
.finding { padding: 0.7rem 1rem; background: var(--panel); border-left: 4px solid var(--tone); border-radius: 4px; }
.finding p { margin: 0.2rem 0 0; font-size: 0.93rem; }
.finding .level { color: var(--tone); font-weight: 600; margin-right: 0.5rem; }
.finding .verdict { font-size: 1rem; font-weight: 600; margin: 0; }
.finding b { font-weight: 600; color: var(--soft); }
.good { --tone: var(--good); } .remark { --tone: var(--first); }
.warning { --tone: var(--warning); } .problem { --tone: var(--problem); }
footer { margin-top: 2.5rem; font-size: 0.83rem; color: var(--soft); }

@media (max-width: 34rem) {
  body { padding: 1.4rem 1rem 3rem; }
  h1 { font-size: 1.5rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 0.5rem; }
  .tiles dd { font-size: 1.05rem; }
  .pairs { grid-template-columns: 1fr; }
  .pairs dt { border: 0; padding: 0.4rem 0 0; font-size: 0.83rem; }
  .pairs dd { padding-top: 0; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(6.6rem, 1fr)); gap: 0.6rem; }
  table { font-size: 0.84rem; }
  th, td { padding-right: 0.6rem; }
  th, th.number, th.short { white-space: normal; vertical-align: bottom; }
  caption { max-width: calc(100vw - 2rem); }
  td:first-child { min-width: min(6rem, 28vw); }
  /* What names a row stays in sight while the figures go by; a shade at the edge says that there are more. */
  .scroll > table :is(th, td):first-child { position: sticky; left: 0; background: var(--paper); }
  .scroll {
    background: linear-gradient(to left, var(--paper) 40%, transparent) right / 2.2rem 100% no-repeat local,
      linear-gradient(to left, var(--line), transparent) right / 0.9rem 100% no-repeat scroll;
  }
}
@media print {
  :root {
    color-scheme: light;
    --paper: #ffffff; --panel: #f6f7f9; --ink: #000000; --soft: #444444; --line: #cccccc;
    --first: #1f5fbf; --second: #c2570c; --good: #1a7f4b; --warning: #8a6100; --problem: #b42318;
  }
  body { max-width: none; padding: 0; font-size: 10.5pt; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  nav { display: none; }
  section { margin-top: 1.2rem; padding-top: 1rem; }
  .columns { grid-template-columns: 1fr 1fr; gap: 1rem; }
  .gallery { grid-template-columns: repeat(6, 1fr); gap: 0.5rem; }
  .gallery.wide { grid-template-columns: 1fr 1fr; }
  figure svg { min-width: 0 !important; }
  table { font-size: 0.8rem; }
  th, td { padding: 0.2rem 0.6rem 0.2rem 0; }
  td:first-child { min-width: 4rem; }
  h2, h3, .note, summary, caption { break-after: avoid; }
  figure, tr, .finding, .shaded, .tiles div, pre { break-inside: avoid; }
  pre { white-space: pre-wrap; }
  .scroll { overflow: visible; }
}
@page { margin: 16mm; }
"""
