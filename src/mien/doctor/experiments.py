"""Experiments that need further trainings: is a smaller network as good, would more images help?

Each trains the run's own recipe again with one change, in a folder inside the run's, and compares
on the same validation images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.doctor.finding import Finding, Plot
from mien.evaluate.bootstrap import Estimate, paired_difference
from mien.evaluate.evaluate import Metrics, evaluate
from mien.evaluate.report import by_ground_truth
from mien.train.loop.fit import fit
from mien.train.networks.registry import network_options
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.folder import RunFolder, create_run, load_scorer, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.evaluate.metrics import Rows
    from mien.train.loop.callbacks import Callback
    from mien.train.recipe.recipe import Recipe

FRACTIONS = (0.25, 0.5)
MIN_GAIN = 0.01
"""Gain in accuracy by twice the images that is worth a finding."""
HALF_WIDTH_COSTS = 1.0 / 3
"""Approximate cost of a training at half the width, in trainings like the run's."""


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Validation accuracy by the fraction of the training images that was used."""

    fractions: tuple[float, ...]
    accuracies: tuple[Estimate, ...]


def can_be_halved(recipe: Recipe) -> bool:
    """Return whether half the width can be trained: pretrained weights fit their own alone."""
    return not recipe.fit.init_from


def smaller_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with a network of half the width."""
    values = recipe.to_dict()
    options = network_options(recipe.network.name, recipe.network.options)
    halved: dict[str, Any] = {}
    for key in ("width", "hidden"):
        # Each network has its own name for its width.
        if hasattr(options, key):
            halved[key] = max(1, getattr(options, key) // 2)
    if hasattr(options, "widths"):
        halved["widths"] = [max(1, w // 2) for w in options.widths]
    values["network"].update(halved)
    values["name"] = f"{recipe.name}-half-width"
    return recipe_from_dict(values)


def compare_smaller(
    run: RunFolder, dataset: Dataset, callbacks: Sequence[Callback] = ()
) -> Finding | None:
    """Train a network of half the width; return a finding where it is as good as the run's.

    'As good' means that the 95% bootstrap interval of the paired difference on the same validation
    images contains 0 or favours the smaller network.
    """
    other = _train(run, smaller_recipe(run.recipe), dataset, "half-width", callbacks)
    ours, theirs = (_validated(one, dataset) for one in (run, other))
    n, gain = len(ours.rows.y_true_n), _gain(ours.rows, theirs.rows)
    # Only an interval above 0 shows that the larger network earns its cost.
    if gain.low > 0:
        return None
    return Finding(
        "model-too-large",
        "warning",
        "a network of half the width is as good",
        f"The run's network is {100 * gain.value:+.1f} points more accurate on {n:,} "
        f"validation images (95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}) than "
        f"the network of half the width in {other.path}.",
        "Use the smaller network: it is faster and no worse.",
        tuple(
            f"network.{key}={value}"
            for key, value in smaller_recipe(run.recipe).network.options.items()
            if key in ("width", "hidden", "widths")
        ),
        {"gain": gain.value, "low": gain.low, "high": gain.high, "n": n},
        Plot("bars", "validation accuracy", ["this network", "half the width"],
             {"accuracy": [m.headlines["accuracy"].value for m in (ours, theirs)]}, xlabel=""),
    )  # fmt: skip


def learning_curve(
    run: RunFolder, dataset: Dataset, callbacks: Sequence[Callback] = ()
) -> tuple[LearningCurve, Finding | None]:
    """Train on fractions of the training images; return a finding where more images would help."""
    runs = []
    rng = np.random.default_rng(run.recipe.fit.seed)
    # One permutation: the quarter is part of the half, so the curve has less noise.
    train = rng.permutation(np.flatnonzero(dataset.splits_n == "train"))
    for fraction in FRACTIONS:
        # Validation stays whole: all accuracies are those of the same images.
        kept = np.ones(len(dataset), bool)
        kept[train[int(len(train) * fraction) :]] = False
        part = dataset.subset(np.flatnonzero(kept))
        recipe = replace(run.recipe, name=f"{run.recipe.name}-{fraction:g}")
        # In a folder of its own inside the run's, so that an interrupted experiment is resumed.
        runs.append(_train(run, recipe, part, f"fraction-{fraction:g}", callbacks))
    metrics = [_validated(one, dataset) for one in [*runs, run]]
    accuracies = tuple(m.headlines["accuracy"] for m in metrics)
    curve = LearningCurve((*FRACTIONS, 1.0), accuracies)
    return curve, judge_curve(curve, metrics[-1].rows, metrics[-2].rows)


def judge_curve(curve: LearningCurve, all_images: Rows, half: Rows) -> Finding | None:
    """Return a finding where all images are surely better than half of them.

    Args:
        curve: its last two accuracies are those of half and of all of the training images.
        all_images: validation rows of the network that was trained on all of them.
        half: those of the network that was trained on half, of the same validation images.
    """
    # All images against half of them: what another doubling may bring at best.
    n, gain = len(half.y_true_n), _gain(all_images, half)
    if gain.low <= 0 or gain.value < MIN_GAIN:
        return None
    words = ", ".join(
        f"{a.value:.1%} from {f:.0%}"
        for f, a in zip(curve.fractions, curve.accuracies, strict=True)
    )
    return Finding(
        "too-little-data",
        "warning",
        "more images would help",
        f"Validation accuracy by the fraction of the training images: {words}. All are "
        f"{100 * gain.value:+.1f} points (95% interval {100 * gain.low:+.1f} to "
        f"{100 * gain.high:+.1f}, n = {n:,}) better than half.",
        "Add images, or augment more.",
        (),
        {"gain": gain.value, "low": gain.low, "high": gain.high, "n": n},
        Plot(
            "lines",
            "validation accuracy",
            curve.fractions,
            {"accuracy": [a.value for a in curve.accuracies]},
            xlabel="fraction of the training images",
        ),
    )


def _validated(run: RunFolder, dataset: Dataset) -> Metrics:
    """Return a run's validation metrics, by the consensus where it exists."""
    return next(by_ground_truth(evaluate(load_scorer(run.path), dataset, "validation")))[1]


def _gain(first: Rows, second: Rows) -> Estimate:
    """Return by how much the first is more accurate on the same images."""
    # Every image is its own group: duplicates are not known in a run's data.
    groups = np.arange(len(first.y_true_n), dtype=np.int64)
    return paired_difference(first, second, groups)[0]


def _train(
    run: RunFolder, recipe: Recipe, dataset: Dataset, name: str, callbacks: Sequence[Callback]
) -> RunFolder:
    """Return the experiment's run, trained to its end; an interrupted one is resumed."""
    path: Path = run.path / "experiments" / name
    experiment = (
        open_run(path)
        if (path / "config.json").exists()
        else create_run(path, recipe, dataset, path)
    )
    fit(experiment, dataset, callbacks)
    return experiment
