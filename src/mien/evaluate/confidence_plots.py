"""A model's confidence as one image: the risk-coverage curve, and prediction sets by label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.evaluate.bootstrap import wilson
from mien.evaluate.confidence import risk_coverage_curve
from mien.evaluate.plots import clean_axes
from mien.evaluate.report import GROUND_TRUTHS, by_ground_truth
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK, ORANGE, label_colour

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from mien.evaluate.evaluate import Evaluation, Metrics


def confidence_image(evaluation: Evaluation) -> bytes:
    """Return PNG bytes: accuracy by the fraction classified, and prediction sets by label.

    The reliability diagram is part of the evaluation's own image. The ground truth is the rater
    consensus where there are votes, else the raw label.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    name, metrics = next(by_ground_truth(evaluation))
    figure = new_figure((11, 4.6), "the image of a confidence")
    selective, sets = figure.subplots(1, 2)
    _abstention(selective, metrics)
    _prediction_sets(sets, metrics)
    figure.suptitle(
        f"{evaluation.model}: can its confidence be relied on? {evaluation.data}, "
        f"{evaluation.split}, {GROUND_TRUTHS[name]}, n = {metrics.n:,}",
        x=0.01, ha="left", weight="bold", color=INK,
    )  # fmt: skip
    return png_bytes(figure)


def _abstention(axes: Axes, metrics: Metrics) -> None:
    rows = metrics.rows
    fractions, accuracy = risk_coverage_curve(rows.confidence_n, rows.y_pred_n == rows.y_true_n)
    first = min(20, len(fractions) - 1)  # the accuracy of fewer faces is noise
    picks = np.unique(np.linspace(first, len(fractions) - 1, 200).astype(int))
    bounds = [wilson(accuracy[i] * (i + 1), i + 1) for i in picks]
    axes.fill_between(fractions[picks], [b.low for b in bounds], [b.high for b in bounds],
                      color=BLUE, alpha=0.15, lw=0)  # fmt: skip
    axes.plot(fractions[picks], accuracy[picks], color=BLUE, lw=1.8)
    rules = {rule.min_confidence: rule for rule in metrics.confidence.abstention}
    for marker, rule in zip("osD^v", rules.values(), strict=False):
        axes.plot([rule.classified], [1 - rule.observed_error.value], marker, color=ORANGE,
                  ms=6, mec=INK, mew=0.6, ls="", clip_on=False, zorder=3,
                  label=f"confidence of {rule.min_confidence:.3f} or more")  # fmt: skip
    floor = min(b.low for b in bounds)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(floor - 0.12 * (1.01 - floor), 1.01)  # room for the legend
    if rules:
        axes.legend(frameon=False, fontsize=8, loc="lower left")
    axes.set_xlabel("fraction of faces classified, most confident first")
    axes.set_ylabel("accuracy among them")
    axes.set_title("abstaining below a confidence threshold", loc="left", fontsize=10)
    clean_axes(axes)


def _prediction_sets(axes: Axes, metrics: Metrics) -> None:
    sets = metrics.confidence.prediction_sets
    axes.set_title("prediction sets: how often they hold the true label", loc="left", fontsize=10)
    clean_axes(axes)
    if not sets:
        return
    places = np.arange(len(sets))
    for place, one in zip(places, sets, strict=True):
        axes.plot([place - 0.4, place + 0.4], [one.coverage] * 2, color=GREY, lw=1.2, ls="--")
        spread = [[one.observed.value - one.observed.low], [one.observed.high - one.observed.value]]
        axes.errorbar(place - 0.25, one.observed.value, np.array(spread), fmt="s", ms=6, color=INK,
                      label="all faces" if place == 0 else None)  # fmt: skip
        offsets = np.linspace(-0.08, 0.3, len(metrics.labels))
        for label, offset in zip(metrics.labels, offsets, strict=True):
            if label in one.by_label:
                axes.plot(place + offset, one.by_label[label], "o", ms=6, mec=INK, mew=0.6,
                          color=label_colour(label),
                          label=label if place == 0 else None)  # fmt: skip
    names = [f"coverage {one.coverage:.0%}\n{one.mean_size:.2f} labels per set" for one in sets]
    axes.set_xticks(places, names, fontsize=8)
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom - 0.35 * (top - bottom), top)  # room for the legend, below every mark
    axes.legend(frameon=False, fontsize=8, loc="lower left", ncols=4)
