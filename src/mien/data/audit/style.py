"""How the audit's page looks: light and dark, narrow and wide, on paper."""

from mien.palette import PAGE

STYLE = (
    PAGE
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 68rem; color: var(--ink);
  background: var(--paper); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .4rem; }
p { margin: .4rem 0 .9rem; max-width: 50rem; }
.lead { font-size: 1.05rem; }
.soft, .source, footer { color: var(--soft); }
a { color: var(--blue); text-underline-offset: .15em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .32rem 0 .32rem 1.25rem;
  border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; }
td:first-child { white-space: nowrap; }
.what { text-align: left; color: var(--soft); }
.summary { width: 100%; }
.summary td:nth-child(3), .summary td:nth-child(4) { white-space: nowrap; }
.bar { width: 12rem; vertical-align: middle; }
.bar i { display: block; height: .7rem; border-radius: 2px; background: var(--blue); }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); }
.tile { background: var(--card); border-radius: 8px; padding: .9rem 1.1rem; }
.tile b { font-size: 1.9rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tile p { margin: .2rem 0 0; font-size: .88rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.grid { display: grid; gap: 1.1rem .9rem;
  grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); }
.pairs { grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); }
figure { margin: 0; } figure div { display: flex; gap: 3px; }
figure img { width: 96px; height: 96px; border-radius: 4px; border: 1px solid var(--line); }
figcaption { font-size: .8rem; line-height: 1.35; padding-top: .3rem; overflow-wrap: anywhere; }
.source { display: block; }
.action { display: inline-block; padding: 0 .45rem; border: 1px solid var(--bad);
  border-radius: 99px; color: var(--bad); }
code { font-size: .9em; }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: .5rem;
  font-size: .85rem; }
@media (max-width: 40rem) { body { padding: 1.25rem 1rem 3rem; }
  .summary .what { display: none; } th, td { padding-left: .6rem; } .bar { width: 4rem; }
  .grid, .pairs { grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); }
  figure img { width: 72px; height: 72px; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; }
  figure, tr, .tile { break-inside: avoid; } h2 { break-after: avoid; }
  .grid { grid-template-columns: repeat(5, 1fr); }
  .pairs { grid-template-columns: repeat(3, 1fr); } }
"""
)
