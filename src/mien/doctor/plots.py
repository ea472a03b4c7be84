"""The evidence for eyes: a small plot for each kind of finding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.facts import accuracy, chance, gradients, loss_curve
from mien.doctor.finding import Plot
from mien.evaluate.bootstrap import wilson

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.doctor.evidence import Evidence

MIN_GAIN = -2.0
"""Gain ratios below are drawn there: how far a step went wrong does not matter."""
TENTHS = 10
SIZES = (50, 100, 200, 400, 800, 1600, 3200, 6400)


def loss_plot(evidence: Evidence) -> Plot | None:
    """Return the training loss over the training."""
    curve = loss_curve(evidence)
    if not curve:
        return None
    per_epoch = [len(e.losses) for e in evidence.signals]
    x = [
        number + (i + 0.5) / max(1, count)
        for number, count in enumerate(per_epoch)
        for i in range(count)
    ]
    peaks = [p for epoch in evidence.signals for p in epoch.peaks]
    return Plot("lines", "training loss", x, {"mean": curve, "largest": peaks})


def rate_plot(evidence: Evidence, limit: float) -> Plot | None:
    """Return the gain ratio over the rates of a range test; over the epochs where there is none."""
    test = evidence.range_test
    if test is None:
        return gain_plot(evidence, limit)
    gains = [None if g is None else max(g, MIN_GAIN) for g in test.gains]
    rate = max((e.lr for e in evidence.signals), default=None)
    return Plot("lines", "gain of a step over what was promised", test.rates,
                {"range test": gains}, limit=limit, xlabel="learning rate", logx=True,
                mark=rate)  # fmt: skip


def gain_plot(evidence: Evidence, limit: float) -> Plot | None:
    """Return the gain ratio over the epochs."""
    measured = [e for e in evidence.signals if e.measured]
    if not measured:
        return None
    clipped = [None if e.gain is None else max(e.gain, MIN_GAIN) for e in measured]
    return Plot("lines", "gain of a step over what was promised", [e.epoch for e in measured],
                {"gain ratio": clipped}, limit=limit)  # fmt: skip


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
            f"epoch {e.epoch}": [gradients(e).get(n) for n in names]
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
            "training": [m.train_accuracy for m in history],
            "validation": [m.validation_accuracy for m in history],
        },
    )


def statistics_plot(evidence: Evidence) -> Plot:
    """Return the loss while learning, and on training images while answering."""
    history = evidence.history
    return Plot(
        "lines",
        "training loss",
        [m.epoch for m in history],
        {
            "while learning": [m.loss for m in history],
            "when answering": [m.train_loss for m in history],
        },
        log=True,
    )


def contradiction_plot(evidence: Evidence, limit: float) -> Plot:
    """Return the share of answers that contradict their label, by how sure they were."""
    train, validation = evidence.train, evidence.validation
    lines = {
        "plain method, training": _contradictions(train.y_true_n, train.opinion_nk),
        "plain method, validation": _contradictions(validation.y_true_n, validation.opinion_nk),
    }
    if validation.probs_nk is not None:
        lines["network, validation"] = _contradictions(validation.y_true_n, validation.probs_nk)
    return Plot("lines", "share that contradicts its label", list(range(1, TENTHS + 1)), lines,
                limit=limit, xlabel="tenths of the images, the surest answers first")  # fmt: skip


def _contradictions(
    y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64]
) -> list[float | None]:
    ordered = np.sort(scores_nk, axis=1)
    rows = np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")
    wrong = scores_nk.argmax(axis=1) != y_true_n
    parts = np.array_split(rows, TENTHS)
    return [float(wrong[part].mean()) if len(part) else None for part in parts]


def opinions_plot(evidence: Evidence) -> Plot:
    """Return how often the plain method and the network are right, against guessing."""
    parts = {"training": evidence.train, "validation": evidence.validation}
    lines: dict[str, list[float | None]] = {
        "plain method": [_share(a.y_true_n, a.opinion_nk) for a in parts.values()],
        "network": [_share(a.y_true_n, a.probs_nk) for a in parts.values()],
        "most common class": [chance(a) for a in parts.values()],
    }
    return Plot("bars", "accuracy", list(parts), lines, xlabel="")


def _share(y_true_n: NDArray[np.int64], scores_nk: NDArray[np.float64] | None) -> float | None:
    found = accuracy(y_true_n, scores_nk)
    return None if found is None else found.value


def looks_plot(evidence: Evidence) -> Plot:
    """Return the images' brightness in training and in validation."""
    edges = np.linspace(0, 255, 18)
    lines = {}
    for split, seen in evidence.inputs.items():
        counts, _ = np.histogram(seen.brightness_n, edges)
        lines[split] = [float(c) / max(1, len(seen.brightness_n)) for c in counts]
    middles = [float(v) for v in (edges[:-1] + edges[1:]) / 2]
    return Plot("lines", "share of the images", middles, lines,
                xlabel="brightness of an image, 0 to 255")  # fmt: skip


def copies_plot(copied: int, n: int) -> Plot:
    """Return validation images with and without a copy in training."""
    return Plot("bars", "validation images", ["copy in training", "none"],
                {"images": [float(copied), float(n - copied)]}, xlabel="")  # fmt: skip


def width_plot(share: float, n: int, limit: float) -> Plot:
    """Return how wide the accuracy's interval is with more and fewer images."""
    halves = []
    for size in SIZES:
        interval = wilson(share * size, size)
        halves.append((interval.high - interval.low) / 2)
    return Plot("lines", "half width of the accuracy's interval", SIZES, {"half width": halves},
                limit=limit, xlabel="validation images", logx=True, mark=n)  # fmt: skip
