"""What only further trainings can tell: would a smaller network do, would more images help?

Each trains the run's own recipe again with one change, in a folder of its own beside the run's,
and compares on the same validation images.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.doctor.finding import Finding, Plot
from mien.evaluate.bootstrap import Estimate, paired_difference
from mien.evaluate.evaluate import evaluate
from mien.evaluate.report import by_ground_truth
from mien.train.loop.fit import fit
from mien.train.networks.registry import network_options
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.folder import RunFolder, create_run, load_scorer, open_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.train.loop.callbacks import Callback
    from mien.train.recipe.recipe import Recipe

FRACTIONS = (0.25, 0.5)
COSTS = 1.0 / 3 + sum(FRACTIONS)
"""Rough cost of all experiments, in trainings like the run's."""


@dataclass(frozen=True, slots=True)
class Learning:
    """Validation accuracy by the share of the training images that was learnt from."""

    shares: tuple[float, ...]
    accuracies: tuple[Estimate, ...]


def smaller_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with a network of half the width."""
    values = recipe.to_dict()
    options = network_options(recipe.network.name, recipe.network.options)
    halved: dict[str, Any] = {}
    for key in ("width", "hidden"):
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
    """Train a network of half the width; a finding where it is as good as the run's.

    'As good' is a 95% interval of the paired difference on the same validation images, by
    bootstrap over groups of copies, that holds 0 or favours the smaller.
    """
    other = _train(run, smaller_recipe(run.recipe), dataset, "half-width", callbacks)
    metrics = [
        dict(by_ground_truth(evaluate(load_scorer(r.path), dataset, "validation")))
        for r in (run, other)
    ]
    name = next(iter(metrics[0]))
    ours, theirs = (m[name] for m in metrics)
    right = ours.rows.y_true_n
    groups = np.arange(len(right), dtype=np.int64)
    gain = paired_difference(ours.rows, theirs.rows, groups)[0]
    if gain.low > 0:
        return None
    return Finding(
        "too-complex",
        "warning",
        "a network of half the width is as good",
        f"The run's network answers {100 * gain.value:+.1f} points more of {len(right):,} "
        f"validation images (95% interval {100 * gain.low:+.1f} to {100 * gain.high:+.1f}) than "
        f"one of half the width, in {other.path}.",
        "Take the smaller one: it is faster and no worse.",
        tuple(
            f"network.{key}={value}"
            for key, value in smaller_recipe(run.recipe).network.options.items()
            if key in ("width", "hidden", "widths")
        ),
        {"gain": gain.value, "low": gain.low, "high": gain.high, "n": len(right)},
        Plot("bars", "validation accuracy", ["this network", "half the width"],
             {"accuracy": [m.headlines["accuracy"].value for m in (ours, theirs)]}, xlabel=""),
    )  # fmt: skip


def learning_curve(
    run: RunFolder, dataset: Dataset, callbacks: Sequence[Callback] = ()
) -> tuple[Learning, Finding | None]:
    """Train on shares of the training images; a finding where more of them would help."""
    runs = []
    rng = np.random.default_rng(run.recipe.fit.seed)
    train = rng.permutation(np.flatnonzero(dataset.splits_n == "train"))
    for share in FRACTIONS:
        kept = np.ones(len(dataset), bool)
        kept[train[int(len(train) * share) :]] = False
        part = dataset.subset(np.flatnonzero(kept))
        recipe = replace(run.recipe, name=f"{run.recipe.name}-{share:g}")
        runs.append(_train(run, recipe, part, f"share-{share:g}", callbacks))
    accuracies = []
    for one in [*runs, run]:
        graded = dict(by_ground_truth(evaluate(load_scorer(one.path), dataset, "validation")))
        accuracies.append(next(iter(graded.values())).headlines["accuracy"])
    learning = Learning((*FRACTIONS, 1.0), tuple(accuracies))
    last, before = accuracies[-1], accuracies[-2]
    if last.value - before.value < max(0.01, (last.high - last.low) / 4):
        return learning, None
    words = ", ".join(
        f"{a.value:.1%} from {s:.0%}" for s, a in zip(learning.shares, accuracies, strict=True)
    )
    return learning, Finding(
        "too-little-data",
        "warning",
        "more images would help",
        f"Validation accuracy by the share of the training images: {words}.",
        "Bring more images, or augment more.",
        (),
        {"half": before.value, "all": last.value},
        Plot(
            "lines",
            "validation accuracy",
            learning.shares,
            {"accuracy": [a.value for a in accuracies]},
            xlabel="share of the training images",
        ),
    )


def _train(
    run: RunFolder, recipe: Recipe, dataset: Dataset, name: str, callbacks: Sequence[Callback]
) -> RunFolder:
    """Return the experiment's run, trained to its end; one that was broken off goes on."""
    path: Path = run.path / "experiments" / name
    experiment = (
        open_run(path)
        if (path / "config.json").exists()
        else create_run(path, recipe, dataset, path)
    )
    fit(experiment, dataset, callbacks)
    return experiment
