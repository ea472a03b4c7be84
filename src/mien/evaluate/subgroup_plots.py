"""Forest plot: the accuracy of each group with its interval, beside the accuracy over all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.plots import clean_axes
from mien.evaluate.report import GROUND_TRUTHS, TOO_FEW
from mien.evaluate.subgroups import MIN_GROUP
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mien.evaluate.evaluate import Evaluation
    from mien.evaluate.subgroups import ColumnGroups, GroupMetrics

ROW_INCHES = 0.34
COLUMNS_AT = (1.02, 1.10)
"""Where the two columns of numbers start, as fractions of the panel's width."""


def groups_image(evaluation: Evaluation) -> bytes:
    """Return a panel for each column of `evaluation.groups` as PNG bytes.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    found = evaluation.groups
    heights = [len(one.groups) + 2.6 for one in found]
    figure = new_figure((10.5, ROW_INCHES * sum(heights) + 1.0), "the plot of groups")
    panels = figure.subplots(
        len(found), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, one in zip(panels, found, strict=True):
        _panel(axes, one)
    panels[-1].set_xlabel("accuracy, with 95% intervals")
    figure.suptitle(
        f"{evaluation.model} on {evaluation.data}, {evaluation.split}, by group\n"
        f"line and band: all images; orange: differs from the other images (Holm, p < 0.05); "
        f"grey: fewer than {MIN_GROUP} images",
        x=0.01, ha="left", color=INK, fontsize=11,
    )  # fmt: skip
    return png_bytes(figure)


def _panel(axes: Axes, one: ColumnGroups) -> None:
    axes.axvspan(one.accuracy.low, one.accuracy.high, color=BLUE, alpha=0.12, lw=0)
    axes.axvline(one.accuracy.value, color=BLUE, lw=1, ls="--")
    for place, group in enumerate(one.groups):
        estimate = group.accuracy
        spread = [[estimate.value - estimate.low], [estimate.high - estimate.value]]
        colour = GREY if group.too_few else ORANGE if group.differs else BLUE
        axes.errorbar(
            [estimate.value], [place], xerr=np.array(spread), fmt="o", ms=6, lw=1.5, color=colour,
            mfc="white" if group.too_few else colour,
        )  # fmt: skip
        _annotate(axes, place, f"{estimate.value:.1%}", _gap(group))
    _annotate(axes, -1, "accuracy", "minus the rest, points")
    names = [f"{group.name}, n = {group.n:,}" for group in one.groups]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    low = min(group.accuracy.low for group in one.groups)
    # Panels share the axis, so that the widest one decides.
    axes.set_xlim(min(axes.get_xlim()[0], max(-0.02, low - 0.02)), 1.01)
    axes.set_title(
        f"{one.column}: {GROUND_TRUTHS[one.ground_truth]}, n = {one.n:,}, accuracy "
        f"{one.accuracy.value:.1%}", loc="left", fontsize=10,
    )  # fmt: skip
    clean_axes(axes)


def _annotate(axes: Axes, place: float, *texts: str) -> None:
    """Write one row of the two columns of numbers at the right of a panel."""
    for at, text in zip(COLUMNS_AT, texts, strict=True):
        axes.annotate(text, (at, place), xycoords=("axes fraction", "data"), va="center",
                      fontsize=8, color=INK, annotation_clip=False)  # fmt: skip


def _gap(group: GroupMetrics) -> str:
    if group.too_few:
        return TOO_FEW
    gap = group.difference
    return f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
