"""The stylesheet of a study's page: light, dark, narrow, printed."""

from __future__ import annotations

from mien.palette import PAGE

STYLE = (
    PAGE
    + """
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 64rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; }
p { margin: .5rem 0; max-width: 48rem; }
pre { background: var(--card); padding: .75rem 1rem; border-radius: 6px; overflow-x: auto;
  font-size: .85rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.claims article { display: grid; grid-template-columns: 9.5rem 1fr; gap: 1rem;
  padding: .9rem 0; border-top: 1px solid var(--line); }
.claims article:last-child { border-bottom: 1px solid var(--line); }
.claims p { margin: 0; font-weight: 600; }
.claims ul { margin: .35rem 0 0; padding-left: 1.1rem; font-size: .88rem; color: var(--soft); }
.claims b { font-weight: 650; white-space: nowrap; }
.supported b { color: var(--good); } .not-supported b { color: var(--bad); }
.undecided b { color: var(--open); }
.failed { border-left: 3px solid var(--bad); padding: .1rem 1rem; background: var(--card); }
figure { margin: 1rem 0; } .wide { overflow-x: auto; }
svg { max-width: 100%; height: auto; min-width: 34rem; color: var(--ink); }
svg text { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem 0 .3rem 1.2rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { font-weight: 600; }
@media (max-width: 40rem) { .claims article { grid-template-columns: 1fr; gap: .25rem; } }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; }
  section, article, tr { break-inside: avoid; } h2 { break-after: avoid; }
  svg { min-width: 0; } }
"""
)
