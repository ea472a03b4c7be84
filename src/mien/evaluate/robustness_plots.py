"""Robustness as images: accuracy by strength, and what the corruptions look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mien.evaluate.corruption import CORRUPTIONS, corrupt
from mien.evaluate.plots import clean_axes
from mien.evaluate.report import GROUND_TRUTHS
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mien.evaluate.corruption import Corruption
    from mien.evaluate.robustness import Robustness


def robustness_image(robustness: Robustness) -> bytes:
    """Return the losses as PNG bytes: a panel for each corruption, clean at the left of each.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    known = {corruption.name: corruption for corruption in CORRUPTIONS}
    names = list(dict.fromkeys(loss.corruption for loss in robustness.losses))
    rows = -(-len(names) // 3)
    figure = new_figure((11, 2.6 * rows + 0.7), "images of robustness")
    axes = figure.subplots(rows, 3, squeeze=False, sharey=True).ravel()
    floor = min(loss.accuracy for loss in robustness.losses)
    for axis, name in zip(axes, names, strict=False):
        _panel(axis, robustness, known[name])
        axis.set_ylim(max(0.0, np.floor(floor * 10 - 0.5) / 10), 1.0)
    for axis in axes[len(names) :]:
        axis.set_visible(False)
    drop = robustness.mean_drop
    figure.suptitle(
        f"{robustness.model} on corrupted faces of {robustness.data}, {robustness.split}: "
        f"{100 * drop.value:.1f} points lost on average "
        f"({100 * drop.low:.1f} to {100 * drop.high:.1f})\n"
        f"accuracy against the {GROUND_TRUTHS[robustness.ground_truth]}, n = {robustness.n:,}; "
        "bars: 95% intervals of what is lost",
        x=0.01, ha="left", color=INK, fontsize=11,
    )  # fmt: skip
    return png_bytes(figure)


def _panel(axis: Axes, robustness: Robustness, corruption: Corruption) -> None:
    losses = [loss for loss in robustness.losses if loss.corruption == corruption.name]
    values = np.array([robustness.clean, *(loss.accuracy for loss in losses)])
    below = [0.0, *(loss.drop.high - loss.drop.value for loss in losses)]
    above = [0.0, *(loss.drop.value - loss.drop.low for loss in losses)]
    places = np.arange(len(values))
    axis.axhline(robustness.clean, color=GREY, lw=1, ls="--")
    axis.errorbar(places, values, np.array([below, above]), color=BLUE, marker="o", ms=5, lw=1.5)
    for place, value, low in zip(places, values, below, strict=True):
        axis.annotate(f"{value:.0%}", (place, value - low), (-2, -3), textcoords="offset points",
                      ha="right", va="top", fontsize=8, color=BLUE)  # fmt: skip
    axis.set_xticks(places, ["clean", *(f"{loss.strength:g}" for loss in losses)])
    axis.set_xlim(-0.5, len(values) - 0.7)
    axis.set_title(corruption.name, loc="left", fontsize=10)
    axis.set_xlabel(corruption.about, fontsize=8, color=GREY)
    clean_axes(axis)


def sheet(face_hw: NDArray[np.uint8], seed: int = 0) -> bytes:
    """Return PNG bytes of one square grey face, uint8 [s, s], under every corruption.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    strengths = max(len(corruption.strengths) for corruption in CORRUPTIONS)
    size = (1.35 * len(CORRUPTIONS), 1.5 * strengths + 0.3)
    figure = new_figure(size, "images of robustness")
    axes = figure.subplots(strengths, len(CORRUPTIONS), squeeze=False)
    for column, corruption in enumerate(CORRUPTIONS):
        for row, strength in enumerate(corruption.strengths):
            axis = axes[row, column]
            worse = corrupt(face_hw[None], corruption, strength, seed)[0]
            large = Image.fromarray(worse).resize((192, 192), Image.Resampling.NEAREST)
            axis.imshow(np.asarray(large), cmap="gray", vmin=0, vmax=255)
            axis.set_xlabel(f"{strength:g}", fontsize=8, color=INK)
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
        axes[0, column].set_title(corruption.name, fontsize=9, color=INK)
    return png_bytes(figure)
