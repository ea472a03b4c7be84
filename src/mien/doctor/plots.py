"""The findings' plots: a small one for each kind of finding."""

from __future__ import annotations

from math import isnan
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import accuracy, loss_curve, majority_accuracy, relative_gradients
from mien.doctor.finding import Plot
from mien.evaluate.bootstrap import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.evidence import Evidence

BLOWN_UP = 20
"""Largest training loss over the first from which its axis is logarithmic."""
MIN_RATIO = -2.0
"""Reduction ratios below are drawn there: how far a step went wrong does not matter."""
TENTHS = 10
SIZES = (50, 100, 200, 400, 800, 1600, 3200, 6400)


def loss_plot(evidence: Evidence) -> Plot | None:
    """Return the training loss over the training."""
    curve = loss_curve(evidence)
    if not curve:
        return None
    per_epoch = [len(e.losses) for e in evidence.signals]
    # Stretches lie evenly within their epoch, whatever their number.
    x = [
        number + (i + 0.5) / max(1, count)
        for number, count in enumerate(per_epoch)
        for i in range(count)
    ]
    peaks = [p for epoch in evidence.signals for p in epoch.peaks]
    lines = {"mean": curve} if peaks == curve else {"mean": curve, "largest": peaks}
    # A loss that blew up leaves nothing of the rest to be seen on a linear axis.
    blew_up = min(curve) > 0 and max(peaks) > BLOWN_UP * curve[0]
    return Plot("lines", "training loss", x, lines, log=blew_up)


def rate_plot(evidence: Evidence, limit: float) -> Plot | None:
    """Return the reduction ratio over the rates of a range test; over the epochs without one."""
    test = evidence.range_test
    if test is None:
        return reduction_plot(evidence, limit)
    ratios = [None if g is None else max(g, MIN_RATIO) for g in test.gains]
    rate = max((e.lr for e in evidence.signals), default=None)
    return Plot("lines", "actual / predicted loss reduction", test.rates,
                {"range test": ratios}, limit=limit, xlabel="learning rate", logx=True,
                mark=rate)  # fmt: skip


def reduction_plot(evidence: Evidence, limit: float) -> Plot | None:
    """Return the reduction ratio over the epochs."""
    measured = [e for e in evidence.signals if e.measured]
    if not measured:
        return None
    clipped = [None if e.gain is None else max(e.gain, MIN_RATIO) for e in measured]
    return Plot("lines", "actual / predicted loss reduction", [e.epoch for e in measured],
                {"reduction ratio": clipped}, limit=limit)  # fmt: skip


def gradient_plot(evidence: Evidence) -> Plot | None:
    """Return each layer's gradient in the first and the last epoch."""
    epochs = [e for e in evidence.signals if e.layers]
    if not epochs:
        return None
    names = list(epochs[-1].layers)
    return Plot(
        "bars",
        "gradient over weights",
        [str(i + 1) for i in range(len(names))],
        {
            f"epoch {e.epoch}": [relative_gradients(e).get(n) for n in names]
            for e in ([epochs[0], epochs[-1]] if len(epochs) > 1 else epochs)
        },
        log=True,
        xlabel="layer, from input to output",
    )


def fit_plot(evidence: Evidence) -> Plot:
    """Return training and validation accuracy over the epochs."""
    history = evidence.history
    return Plot(
        "lines",
        "accuracy",
        [m.epoch for m in history],
        {
            "training": [None if isnan(m.train_accuracy) else m.train_accuracy for m in history],
            "validation": [m.validation_accuracy for m in history],
        },
    )


def statistics_plot(evidence: Evidence) -> Plot:
    """Return the training loss in training mode and in evaluation mode."""
    history = evidence.history
    return Plot(
        "lines",
        "training loss",
        [m.epoch for m in history],
        {
            "training mode": [m.loss for m in history],
            "evaluation mode": [None if isnan(m.train_loss) else m.train_loss for m in history],
        },
        log=True,
    )


def disagreement_plot(evidence: Evidence, limit: float) -> Plot:
    """Return the fraction of predictions that contradict their label, by confidence."""
    train, validation = evidence.train, evidence.validation
    lines = {
        "baseline, training": _disagreements(train.y_true_n, train.baseline_nk),
        "baseline, validation": _disagreements(validation.y_true_n, validation.baseline_nk),
    }
    if validation.probs_nk is not None:
        lines["network, validation"] = _disagreements(validation.y_true_n, validation.probs_nk)
    return Plot("lines", "fraction that contradicts its label", list(range(1, TENTHS + 1)), lines,
                limit=limit, xlabel="tenths of the images, the most confident first")  # fmt: skip


def _disagreements(
    y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]
) -> list[float | None]:
    ordered = np.sort(scores_nk, axis=1)
    rows = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")
    wrong = scores_nk.argmax(axis=1) != y_true_n
    parts = np.array_split(rows, TENTHS)
    return [float(wrong[part].mean()) if len(part) else None for part in parts]


def baseline_plot(evidence: Evidence) -> Plot:
    """Return the accuracies of the baseline and the network, beside the most common class."""
    parts = {"training": evidence.train, "validation": evidence.validation}
    lines: dict[str, list[float | None]] = {
        "baseline": [_accuracy(a.y_true_n, a.baseline_nk) for a in parts.values()],
        "network": [_accuracy(a.y_true_n, a.probs_nk) for a in parts.values()],
        "most common class": [majority_accuracy(a) for a in parts.values()],
    }
    return Plot("bars", "accuracy", list(parts), lines, xlabel="")


def _accuracy(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64] | None) -> float | None:
    found = accuracy(y_true_n, scores_nk)
    return None if found is None else found.value


def brightness_plot(evidence: Evidence) -> Plot:
    """Return the distribution of the images' brightness in training and in validation."""
    edges = np.linspace(0, 255, 18)
    lines = {}
    for split, pixels in evidence.pixels.items():
        counts, _ = np.histogram(pixels.brightness_n, edges)
        lines[split] = [float(c) / max(1, len(pixels.brightness_n)) for c in counts]
    middles = [float(v) for v in (edges[:-1] + edges[1:]) / 2]
    return Plot("lines", "fraction of the images", middles, lines,
                xlabel="brightness of an image, 0 to 255")  # fmt: skip


def duplicates_plot(duplicates: int, n: int) -> Plot:
    """Return validation images with and without a duplicate in training."""
    return Plot("bars", "validation images", ["duplicate in training", "none"],
                {"images": [float(duplicates), float(n - duplicates)]}, xlabel="")  # fmt: skip


def width_plot(accuracy: float, n: int, limit: float) -> Plot:
    """Return how wide the accuracy's interval is for other numbers of images."""
    halves = []
    for size in SIZES:
        interval = wilson(accuracy * size, size)
        halves.append((interval.high - interval.low) / 2)
    return Plot("lines", "half width of the accuracy's interval", SIZES, {"half width": halves},
                limit=limit, xlabel="validation images", logx=True, mark=n)  # fmt: skip
