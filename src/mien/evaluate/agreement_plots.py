"""Plots of agreement: confusion of each pair, and all coders' labels along one unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.report.figure import new_figure, png_bytes
from mien.report.palette import INK, PAPER, SOFT, label_colour

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from mien.codings.units import Unit
    from mien.evaluate.agreement import Agreement, PairAgreement

DARK_CELL = 0.55
"""Fraction from which on a cell is too dark for dark text."""
PER_ROW = 3
"""Confusion matrices side by side."""


def confusion_image(agreement: Agreement) -> bytes:
    """Return the confusion of each pair of coders as PNG bytes, in seconds and fractions.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    pairs = agreement.pairs
    columns = min(PER_ROW, len(pairs))
    rows = -(-len(pairs) // columns)
    side = max(3.6, 0.75 * len(agreement.labels) + 1.6)
    figure = new_figure((side * columns + 0.6, side * rows), "the plot of an agreement")
    panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes, pair in zip(panels, pairs, strict=False):
        _confusion(axes, pair, agreement.labels)
    for axes in panels[len(pairs) :]:
        axes.remove()
    return png_bytes(figure)


def _confusion(axes: Axes, pair: PairAgreement, labels: Sequence[str]) -> None:
    seconds = pair.confusion_kk
    sums = seconds.sum(axis=1, keepdims=True)
    fractions = np.divide(seconds, sums, out=np.zeros_like(seconds), where=sums > 0)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(labels)):
        for column in range(len(labels)):
            cell = fractions[row, column]
            axes.text(
                column, row, f"{cell:.0%}\n{_duration(seconds[row, column])}", ha="center",
                va="center", fontsize=8, color=PAPER if cell > DARK_CELL else INK,
            )  # fmt: skip
    axes.set_xticks(range(len(labels)), labels)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylabel(pair.coders[0], color=INK)
    axes.set_xlabel(pair.coders[1], color=INK)
    kappa = f"kappa {pair.kappa.value:.2f}" if pair.kappa.is_defined else "kappa not defined"
    axes.set_title(f"{kappa}, {_duration(pair.seconds)} coded by both", fontsize=9, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"


def timeline_image(coders: Sequence[str], unit: Unit) -> bytes:
    """Return what each coder coded along one unit, one row for each coder, as PNG bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure((10.5, 0.42 * len(coders) + 1.3), "the plot of an agreement")
    axes = figure.subplots()
    labels: list[str] = []
    for row, tier in enumerate(unit.tiers):
        for label in sorted({one.label for one in tier.segments}):
            spans = [(s.start_s, s.end_s - s.start_s) for s in tier.segments if s.label == label]
            axes.broken_barh(
                spans, (row - 0.4, 0.8), color=label_colour(label),
                label=label if label not in labels else None,
            )  # fmt: skip
            labels.append(label)
    axes.set_yticks(range(len(coders)), coders)
    axes.set_ylim(len(coders) - 0.5, -0.5)
    axes.set_xlabel("seconds")
    axes.set_title(unit.name, loc="left", fontsize=10, color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=SOFT)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=len(labels), frameon=False, fontsize=8
    )
    return png_bytes(figure)
