"""An evaluation as one image: confusion, calibration, and each class's recall and precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.bootstrap import wilson
from mien.evaluate.metrics import BINS
from mien.evaluate.report import GROUND_TRUTHS, NAMES, UNDEFINED_TEXT, by_ground_truth
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK, ORANGE, PAPER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mien.evaluate.evaluate import Evaluation, Metrics

FEW = 10
"""Faces in a bin below which its accuracy is drawn faintly."""
DARK_CELL = 0.55
"""Fraction from which on a cell of the confusion is too dark for dark text."""


def image(evaluation: Evaluation) -> bytes:
    """Return the evaluation as PNG bytes, a row for each ground truth, the consensus first.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    graded = list(by_ground_truth(evaluation))
    figure = new_figure((13, 4.4 * len(graded) + 0.5), "the image of an evaluation")
    parts = figure.subfigures(len(graded), 1, squeeze=False)[:, 0]
    for part, (name, metrics) in zip(parts, graded, strict=True):
        part.suptitle(
            f"{GROUND_TRUTHS[name]}, n = {metrics.n:,}: {_headlines(metrics)} (95% intervals)",
            x=0.01,
            ha="left",
            color=INK,
        )
        confusion, calibration, classes = part.subplots(1, 3, width_ratios=(1.1, 1, 1))
        _confusion(confusion, metrics)
        calibration_axes(calibration, metrics)
        _classes(classes, metrics)
    figure.suptitle(
        f"{evaluation.model} on {evaluation.data}, {evaluation.split}",
        x=0.01,
        ha="left",
        weight="bold",
        color=INK,
    )
    return png_bytes(figure)


def _headlines(metrics: Metrics) -> str:
    """Return accuracy, balanced accuracy and macro F1 with their intervals."""
    parts = []
    for key in ("accuracy", "balanced_accuracy", "macro_f1"):
        e = metrics.headlines[key]
        value = f"{e.value:.1%} [{e.low:.1%}, {e.high:.1%}]" if e.is_defined else UNDEFINED_TEXT
        parts.append(f"{NAMES[key]} {value}")
    return ", ".join(parts)


def _confusion(axes: Axes, metrics: Metrics) -> None:
    counts = metrics.confusion
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    places = range(len(metrics.labels))
    for i in places:
        for j in places:
            colour = PAPER if fractions[i, j] > DARK_CELL else INK
            fraction = f"{fractions[i, j]:.0%}" if counts[i].any() else "no image"
            text = f"{fraction}\n{counts[i, j]:,}"
            axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(list(places), metrics.labels, rotation=30 if len(places) > 4 else 0)
    axes.set_yticks(list(places), metrics.labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("ground truth")
    axes.set_title("confusion", loc="left", fontsize=10)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def calibration_axes(axes: Axes, metrics: Metrics) -> None:
    """Draw the reliability diagram: accuracy by confidence, and how often each occurs."""
    rows = metrics.rows
    correct = rows.y_pred_n == rows.y_true_n
    counts = np.bincount(rows.bins_n, minlength=BINS)
    used = np.flatnonzero(counts)
    confidence = np.bincount(rows.bins_n, rows.confidence_n, BINS)[used] / counts[used]
    hits = np.bincount(rows.bins_n, correct.astype(float), BINS)[used]
    accuracy = [wilson(h, n) for h, n in zip(hits, counts[used], strict=True)]
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    middle = np.array([a.value for a in accuracy])
    spread = [[a.value - a.low for a in accuracy], [a.high - a.value for a in accuracy]]
    for few, alpha in ((False, 1.0), (True, 0.3)):  # a handful of faces says little: faint
        own = (counts[used] < FEW) == few
        bars = np.array(spread)[:, own]
        axes.errorbar(confidence[own], middle[own], bars, color=BLUE, fmt="o", ms=4, lw=1,
                      alpha=alpha)  # fmt: skip
    edges = np.arange(BINS) / BINS
    axes.bar(edges, counts / counts.max() * 0.2, 1 / BINS, align="edge", color=GREY, alpha=0.35)
    axes.set_xlim(1 / len(metrics.labels) - 0.03, 1.02)
    axes.set_ylim(0, 1.04)
    axes.set_xlabel("confidence (grey: fraction of faces)")
    axes.set_ylabel("accuracy")
    error = metrics.headlines["calibration_error"]
    title = f"calibration error {error.value:.3f} ({error.low:.3f} to {error.high:.3f})"
    axes.set_title(title, loc="left", fontsize=10)
    clean_axes(axes)


def _classes(axes: Axes, metrics: Metrics) -> None:
    classes = metrics.classes
    places = np.arange(len(classes))
    for offset, name, colour, estimates in (
        (0.18, "recall", BLUE, [one.recall for one in classes]),
        (-0.18, "precision", ORANGE, [one.precision for one in classes]),
    ):
        middle = np.array([e.value for e in estimates])
        spread = [[e.value - e.low for e in estimates], [e.high - e.value for e in estimates]]
        axes.errorbar(
            middle, places - offset, xerr=np.array(spread), fmt="o", ms=5, color=colour, label=name
        )
        for place, estimate in zip(places, estimates, strict=True):
            if estimate.is_defined:  # beside the interval, which it would hide
                axes.annotate(f"{estimate.value:.0%}", (estimate.high, place - offset), (5, 0),
                              textcoords="offset points", va="center", fontsize=8,
                              color=colour)  # fmt: skip
    names = [f"{one.label}\nn = {one.n:,}" for one in classes]
    axes.set_yticks(places, names)
    axes.set_ylim(len(places) - 0.5, -1.0)  # room for the legend
    axes.set_xlim(-0.02, 1.15)
    axes.set_xticks(np.arange(0, 1.01, 0.2))
    axes.legend(frameon=False, fontsize=8, loc="upper left", ncols=2)
    axes.set_title("classes, with 95% intervals", loc="left", fontsize=10)
    clean_axes(axes)


def clean_axes(axes: Axes) -> None:
    """Leave a plot its two axes and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
