"""The figures of a study: its claims at a glance, and every seed of each factor as a dot."""

from __future__ import annotations

import io
import math
import textwrap
from typing import TYPE_CHECKING, Any

from mien.report.figure import png_bytes
from mien.report.palette import BAD, BLUE, GOOD, INK, OPEN, ORANGE, SOFT
from mien.study.measures import BOUNDS, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.study.conclusions import Conclusion
    from mien.study.verdict import CellOutcome, ClaimOutcome, FactorOutcome

DOT = ORANGE
THEMED = {
    INK: "currentColor",
    SOFT: "var(--soft)",
    BLUE: "var(--blue)",
    DOT: "var(--orange)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    OPEN: "var(--open)",
}
"""In a page, colours follow its theme."""
VERDICTS = {"supported": (GOOD, "o"), "not supported": (BAD, "X"), "undecided": (OPEN, "D")}
"""Verdict → colour and marker of the overview; the marker for those who see no colours."""
MINUS = "\N{MINUS SIGN}"
MAX_LABEL = 62
"""Characters of a claim's label."""
LOWEST, HIGHEST = -3.0, 5.0
"""Range of the overview, in smallest differences that matter: it shows where 0 and 1 lie."""
NAMES = {
    "accuracy": "validation accuracy, %",
    "balanced_accuracy": "balanced accuracy, %",
    "best_accuracy": "validation accuracy, best epoch, %",
    "train_accuracy": "training accuracy, %",
    "gap": "training minus validation, points",
    "min_loss": "minimum validation loss",
    "min_loss_epoch": "epoch of the minimum validation loss",
    "loss_spread": "validation loss, spread over epochs",
    "dead_units": "dead units, %",
    "loss_rise": "final over minimum validation loss",
    "gradient_ratio": "gradient of the first layers, log10",
    "reduction_ratio": "actual / predicted loss reduction",
    "update_ratio": "update over weights, log10",
}


def draw_factor(outcome: FactorOutcome) -> Figure:
    """Return the figure of a factor: a row for each cell, a column for each measure shown."""
    from matplotlib.figure import Figure

    shown = outcome.factor.shown
    height = 0.9 + 0.3 * len(outcome.cells)
    figure = Figure(figsize=(3.1 * len(shown) + 1.2, height), layout="constrained")
    # Transparent, so that a page in its dark theme shows its own background.
    figure.patch.set_alpha(0)
    columns = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
    for axes, measure in zip(columns, shown, strict=True):
        _column(axes, outcome.cells, measure)
    return figure


def _column(axes: Axes, cells: Sequence[CellOutcome], measure: str) -> None:
    scale = 100 if points(measure) else 1
    for row, cell in enumerate(cells):
        y = len(cells) - 1 - row
        values = [scale * v for v in cell.values(measure) if v is not None]
        # Alternating heights keep dots of equal values apart.
        spread = [y + 0.22 + 0.03 * (i % 2) for i in range(len(values))]
        axes.plot(values, spread, "o", ms=3, color=DOT, alpha=0.75, mew=0)
        mean = cell.means[measure]
        # A single seed has a mean, but no interval.
        if math.isfinite(mean.low):
            axes.plot([scale * mean.low, scale * mean.high], [y, y], color=BLUE, lw=2.5)
        if math.isfinite(mean.value):
            axes.plot(scale * mean.value, y, "o", ms=5, color=BLUE)
    axes.set_yticks(range(len(cells)), [cell.name for cell in reversed(cells)])
    axes.set_ylim(-0.6, len(cells) - 0.3)
    low, high = (scale * v for v in BOUNDS.get(measure, (-math.inf, math.inf)))
    left, right = axes.get_xlim()
    if left < low or right > high:  # matplotlib's margin leaves the range of the measure
        edge = 0.02 * (min(right, high) - max(left, low))
        axes.set_xlim(max(left, low - edge), min(right, high + edge))
    axes.set_xlabel(NAMES[measure], fontsize=9, color=INK)
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.grid(axis="x", alpha=0.25, color=SOFT)
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(SOFT)


def draw_verdicts(conclusions: Sequence[Conclusion]) -> Figure:
    """Return the overview of one claim or more: a row each, with its comparisons' intervals.

    The unit is the smallest difference that matters: an interval on the right of 0 agrees with the
    claim, one on the left of 1 refutes it.
    """
    from matplotlib.figure import Figure

    rows: list[ClaimOutcome | str] = []
    for conclusion in conclusions:
        rows += [conclusion.family.words] if conclusion.family.words else []
        rows += conclusion.claims
    height = 0.95 + 0.235 * len(rows)
    figure = Figure(figsize=(9.2, height))
    figure.patch.set_alpha(0)
    # Fixed margins in inches: the labels on both sides are texts, which no layout counts.
    axes = figure.add_axes((0.38, 0.5 / height, 0.46, 1 - 0.85 / height))
    for y, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
        if isinstance(row, str):
            _write(axes, -0.81, y, row, size=9, weight="bold")
        else:
            words = textwrap.shorten(row.claim.where or row.claim.words, MAX_LABEL, placeholder="…")
            _write(axes, -0.79, y, words)
            _write(axes, 1.03, y, _differences(row))
            for x, style in ((0, "-"), (1, "--")):
                axes.plot([x, x], [y - 0.5, y + 0.5], color=SOFT, lw=1, ls=style)
            _intervals(axes, row, y)
    for verdict, (color, marker) in VERDICTS.items():
        axes.plot([], [], marker, color=color, ms=6, mew=0, label=verdict)
    _write(axes, 1.03, len(rows) - 0.2, "difference", color=SOFT)
    figure.legend(loc="upper left", ncols=3, fontsize=8, frameon=False, labelcolor=INK)
    axes.set_xlim(LOWEST, HIGHEST)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xticks([-2, 0, 1, 2, 4], [f"{MINUS}2", "0\nno effect", "1\nmatters", "2", "4"])
    axes.set_yticks([])
    axes.tick_params(labelsize=8, colors=INK, length=0)
    axes.patch.set_alpha(0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    return figure


def _write(
    axes: Axes, x: float, y: float, words: str, *, size: int = 8, color: str = INK, **font: Any
) -> None:
    """Write a label beside the plot: an axis would align it on the right."""
    place = axes.get_yaxis_transform()
    axes.text(x, y, words, transform=place, va="center", size=size, color=color, **font)


def _differences(claim: ClaimOutcome) -> str:
    """Return the mean difference of each comparison, in its own unit."""
    parts = []
    for compared in claim.comparisons:
        measure, found = compared.comparison.measure, compared.difference
        if found is not None and math.isfinite(found.mean.value):
            scale, form = (100, "+.1f") if points(measure) else (1, "+.3f")
            parts.append(f"{scale * found.mean.value:{form}}".replace("-", MINUS))
    return ", ".join(parts)


def _intervals(axes: Axes, claim: ClaimOutcome, y: float) -> None:
    """Draw the interval of each comparison; arrows where it leaves the range."""
    color, marker = VERDICTS[claim.verdict]
    count = len(claim.comparisons)
    for i, compared in enumerate(claim.comparisons):
        found, unit = compared.difference, compared.comparison.min_difference
        if found is None or not math.isfinite(found.mean.value):
            continue
        at = y + 0.22 * ((count - 1) / 2 - i)
        mean, low, high = (v / unit for v in (found.mean.value, found.mean.low, found.mean.high))
        ends = max(low, LOWEST), min(high, HIGHEST)
        if math.isfinite(low) and ends[0] < ends[1]:
            axes.plot(ends, [at, at], color=color, lw=2 if count == 1 else 1.4, alpha=0.75)
        for beyond, x, arrow in ((low < LOWEST, LOWEST, "<"), (high > HIGHEST, HIGHEST, ">")):
            if beyond and math.isfinite(low):
                axes.plot(x, at, arrow, color=color, ms=4, mew=0, clip_on=False)
        if LOWEST <= mean <= HIGHEST:
            axes.plot(mean, at, marker, color=color, ms=5.5 if count == 1 else 4, mew=0)


def svg(figure: Figure) -> str:
    """Return a figure as SVG whose colors follow the page's theme."""
    import matplotlib as mpl

    buffer = io.StringIO()
    # Text stays text: screen readers can read it, and the file stays small.
    # A fixed salt and no date: the same study gives the same file, byte for byte.
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "m"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    for color, themed in THEMED.items():
        text = text.replace(color, themed)
    return text[text.index("<svg") :]


def png(figure: Figure) -> bytes:
    """Return a figure as PNG bytes on white, for Markdown."""
    return png_bytes(figure, dpi=130, facecolor="white")
