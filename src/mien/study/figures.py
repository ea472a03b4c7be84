"""The figures of a study: every seed is a dot, with the mean and its interval below."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from mien.report.figure import png_bytes
from mien.report.palette import BLUE, INK, ORANGE, SOFT
from mien.study.measures import BOUNDS, points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from mien.study.verdict import CellOutcome, FactorOutcome

DOT = ORANGE
THEMED = {INK: "currentColor", SOFT: "var(--soft)", BLUE: "var(--blue)", DOT: "var(--orange)"}
"""In a page, colours follow its theme."""
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


def svg(outcome: FactorOutcome) -> str:
    """Return the figure as SVG whose colors follow the page's theme."""
    import matplotlib as mpl

    buffer = io.StringIO()
    # Text stays text: screen readers can read it, and the file stays small.
    # A fixed salt and no date: the same study gives the same file, byte for byte.
    with mpl.rc_context({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "m"}):
        draw_factor(outcome).savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    for color, themed in THEMED.items():
        text = text.replace(color, themed)
    return text[text.index("<svg") :]


def png(outcome: FactorOutcome) -> bytes:
    """Return the figure as PNG bytes on white, for Markdown."""
    return png_bytes(draw_factor(outcome), dpi=130, facecolor="white")
