"""The findings as one image: a small plot for each."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from mien.report.figure import new_figure, png_bytes, whole_epochs
from mien.report.palette import GREY, INK, SERIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mien.doctor.finding import Finding, Plot

MAX_LINES = len(SERIES)
"""Lines of a plot, at most: those with the largest values are kept."""


def draw_findings(findings: Sequence[Finding], *, title: str) -> bytes | None:
    """Return the plots of the findings as PNG bytes; None where no finding has one."""
    drawn = [(finding, finding.plot) for finding in findings if finding.plot is not None]
    if not drawn:
        return None
    columns = min(2, len(drawn))
    rows = math.ceil(len(drawn) / columns)
    figure = new_figure((6.2 * columns, 3.6 * rows + 0.4), "doctor.png")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (finding, plot) in zip(grid, drawn, strict=False):
        _draw(axes, finding, plot)
    for axes in grid[len(drawn) :]:
        axes.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", weight="bold", color=INK)
    return png_bytes(figure)


def draw_finding(finding: Finding) -> bytes | None:
    """Return a finding's plot as PNG bytes; None where it has none."""
    if finding.plot is None:
        return None
    figure = new_figure((6.2, 3.2), "the plot of a finding")
    _draw(figure.subplots(), finding, finding.plot)
    return png_bytes(figure)


def _draw(axes: Axes, finding: Finding, plot: Plot) -> None:
    if plot.kind == "bars":
        _bars(axes, plot)
    else:
        _lines(axes, plot)
    if plot.log:
        axes.set_yscale("log")
    if plot.logx:
        axes.set_xscale("log")
    if plot.mark is not None:
        axes.axvline(plot.mark, color=INK, lw=1, ls=":")
        axes.annotate(" this run", (plot.mark, 0.02), xycoords=("data", "axes fraction"),
                      fontsize=8, color=INK)  # fmt: skip
    if plot.limit is not None:
        axes.axhline(plot.limit, color=GREY, lw=1, ls="--")
        axes.annotate("limit", (1, plot.limit), xycoords=("axes fraction", "data"), fontsize=8,
                      ha="right", va="bottom", color=GREY)  # fmt: skip
    if plot.xlabel == "epoch" and plot.kind == "lines":
        whole_epochs(axes, [float(x) for x in plot.x])
    axes.set_xlabel(plot.xlabel)
    axes.set_ylabel(plot.title, fontsize=9)
    axes.set_title("\n".join(textwrap.wrap(finding.title, 58)), loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    if len(plot.lines) > 1 and plot.kind == "bars":
        low, high = axes.get_ylim()  # room for the legend above the bars
        axes.set_ylim(low, high * (high / low) ** 0.18 if plot.log else high + 0.18 * (high - low))
        axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=len(plot.lines))
    elif len(plot.lines) > 1:
        axes.legend(frameon=False, fontsize=8)


def _lines(axes: Axes, plot: Plot) -> None:
    # A network has more layers than the palette has colors: the largest are kept.
    ranked = sorted(plot.lines, key=lambda n: -_largest(plot.lines[n]))[:MAX_LINES]
    for colour, name in zip(SERIES, [n for n in plot.lines if n in ranked], strict=False):
        values = [math.nan if v is None else v for v in plot.lines[name]]
        # Markers would merge into a band on a long curve.
        mark = "o" if len(values) < 40 else ""
        axes.plot([float(x) for x in plot.x], values, color=colour, marker=mark, ms=3, label=name)


def _bars(axes: Axes, plot: Plot) -> None:
    width = 0.8 / len(plot.lines)
    for number, (name, values) in enumerate(plot.lines.items()):
        places = [i + (number + 0.5) * width - 0.4 for i in range(len(plot.x))]
        heights = [v or 0.0 for v in values]
        axes.bar(places, heights, width, color=SERIES[number], label=name)
        if name in plot.low and name in plot.high:
            bounds = zip(heights, plot.low[name], plot.high[name], strict=True)
            # A bar without a value has no interval either.
            arms = [
                (h - (h if a is None else a), (h if b is None else b) - h) for h, a, b in bounds
            ]
            axes.errorbar(places, heights, list(zip(*arms, strict=True)), fmt="none", ecolor=INK,
                          elinewidth=1, capsize=3)  # fmt: skip
    axes.set_xticks(range(len(plot.x)), [str(x) for x in plot.x])


def _largest(values: Sequence[float | None]) -> float:
    return max((v for v in values if v is not None), default=0.0)
