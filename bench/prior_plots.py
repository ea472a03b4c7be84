"""Draws the reliability and the recalls of models under their training and their shipped prior.

    python bench/prior_plots.py --data datasets/fer2013 --out docs/images/prior.png

One row per model: a reliability diagram under each prior, and the recall of each class under both.
The reliability under a prior is that of the validation faces weighted to have that prior, as in
`bench/default_prior.py`: 10 bins of equal width, bins of fewer than 10 faces are drawn faintly. Its
intervals are Wilson's for the effective number of faces in the bin (Kish 1965). Consensus labels
of the validation split, which chose the shipped prior: not a test.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from default_prior import (
    LABELS,
    corrected,
    metrics,
    prior_of,
    table_of,
    truth,
    weighted_calibration_error,
)
from mien.data.dataset import load_dataset
from mien.evaluate.plots import clean_axes
from mien.files import write_bytes
from mien.intervals import wilson
from mien.model.classifier import Classifier
from mien.report.figure import new_figure, png_bytes
from mien.report.palette import BLUE, GREY, INK, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from mien.evaluate.predictions import PredictionTable

BINS, FEW = 10, 10
COLOURS = {"training prior": ORANGE, "shipped prior": BLUE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True, help="dataset folder with votes")
    parser.add_argument("--models", nargs="+", default=["mien-tiny", "mien-small", "mien-base"])
    parser.add_argument("--out", type=Path, required=True, help="PNG file to write")
    args = parser.parse_args()
    dataset = load_dataset(args.data)
    training = prior_of(dataset, LABELS)
    training_k = np.array([training[label] for label in LABELS])
    figure = new_figure((13, 3.9 * len(args.models) + 0.4), "reliability under two priors")
    grid = figure.subplots(len(args.models), 3, squeeze=False)
    for model, row in zip(args.models, grid, strict=True):
        shipped = Classifier.load(Path(model)).info.prior
        if shipped is None:
            parser.error(f"{model} has no output prior, so there is nothing to compare")
        table = table_of(model, dataset)
        priors = {
            "training prior": training_k,
            "shipped prior": np.array([shipped[label] for label in LABELS]),
        }
        for axes, (name, prior_k) in zip(row, priors.items(), strict=False):
            draw_reliability(axes, table, training_k, prior_k, COLOURS[name])
            error = weighted_calibration_error(table, training_k, prior_k)
            text = f"{model}, {name}: calibration error {error:.3f}"
            axes.set_title(text, loc="left", fontsize=10, color=INK)
        draw_recalls(row[2], table, training_k, priors)
    write_bytes(args.out, png_bytes(figure))
    print(args.out)


def draw_reliability(
    axes: Axes,
    table: PredictionTable,
    training_k: NDArray[np.float64],
    prior_k: NDArray[np.float64],
    colour: str,
) -> None:
    """Draw accuracy by confidence, of faces that are weighted to have the prior."""
    probs_nk, y_true_n = corrected(table, training_k, prior_k), truth(table)
    frequency_k = np.bincount(y_true_n, minlength=len(LABELS)) / len(y_true_n)
    weight_n = (prior_k / frequency_k)[y_true_n]
    confidence_n = probs_nk.max(axis=1)
    hit_n = probs_nk.argmax(axis=1) == y_true_n
    bins_n = np.clip(np.ceil(confidence_n * BINS).astype(int) - 1, 0, BINS - 1)
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    share_k = np.bincount(bins_n, weight_n, BINS) / weight_n.sum()
    edges = np.arange(BINS) / BINS
    axes.bar(edges, share_k / share_k.max() * 0.2, 1 / BINS, align="edge", color=GREY, alpha=0.35)
    for b in np.unique(bins_n):
        own = bins_n == b
        weights = weight_n[own]
        # Unequal weights say less than as many equal ones: Kish's effective number.
        effective = weights.sum() ** 2 / (weights**2).sum()
        right = wilson(float((weights * hit_n[own]).sum() / weights.sum() * effective), effective)
        axes.errorbar(
            np.average(confidence_n[own], weights=weights), right.value,
            [[right.value - right.low], [right.high - right.value]],
            color=colour, fmt="o", ms=4, lw=1,
            alpha=1.0 if own.sum() >= FEW else 0.3,
        )  # fmt: skip
    axes.set_xlim(1 / len(LABELS) - 0.03, 1.02)
    axes.set_ylim(0, 1.04)
    axes.set_xlabel("confidence (grey: fraction of faces)")
    axes.set_ylabel("accuracy")
    clean_axes(axes)


def draw_recalls(
    axes: Axes,
    table: PredictionTable,
    training_k: NDArray[np.float64],
    priors: dict[str, NDArray[np.float64]],
) -> None:
    """Draw each class's recall under each prior, with Wilson's intervals."""
    count_k = np.bincount(truth(table), minlength=len(LABELS))
    places = np.arange(len(LABELS))
    for offset, (name, prior_k) in zip((-0.15, 0.15), priors.items(), strict=True):
        accuracy, recall_k, _ = metrics(table, training_k, prior_k)
        found = [wilson(round(r * n), n) for r, n in zip(recall_k, count_k, strict=True)]
        spread = [[e.value - e.low for e in found], [e.high - e.value for e in found]]
        colour = COLOURS[name]
        axes.errorbar(
            [e.value for e in found], places + offset, xerr=np.array(spread), fmt="o", ms=5,
            color=colour,
            label=f"{name}: accuracy {accuracy:.3f}, balanced {recall_k.mean():.3f}",
        )  # fmt: skip
        for place, one in zip(places, found, strict=True):
            axes.annotate(f"{one.value:.1%}", (one.high, place + offset), (5, 0),
                          textcoords="offset points", va="center", fontsize=8,
                          color=colour)  # fmt: skip
    axes.set_yticks(
        places, [f"{label}\nn = {n:,}" for label, n in zip(LABELS, count_k, strict=True)]
    )
    axes.set_ylim(len(places) - 0.5, -0.9)
    axes.set_xlim(0.5, 1.06)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    axes.set_title("recall of each class (95% intervals)", loc="left", fontsize=10, color=INK)
    clean_axes(axes)


if __name__ == "__main__":
    main()
