"""A whole split as a few tensors, and its batches: without files or worker processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mien.errors import ConfigError, DataError, did_you_mean
from mien.train.loop.loss import class_fractions
from mien.train.recipe.adapt import max_votes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe
    from mien.train.recipe.settings import TargetConfig


@dataclass(frozen=True, slots=True)
class Examples:
    """Training images with their targets, on one device.

    Attributes:
        pixels: uint8 [n, 1, s, s].
        targets_nk: probabilities of the learnt labels, float32 [n, k]; each row sums to 1.
        weights_n: weight of each image in the loss, float32 [n].
    """

    pixels: Tensor
    targets_nk: Tensor
    weights_n: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device) -> Examples:
        """Return the same examples on `device`."""
        return Examples(
            self.pixels.to(device), self.targets_nk.to(device), self.weights_n.to(device)
        )

    def sample(self, count: int, seed: int) -> Examples:
        """Return a random sample of at most `count` examples; the same for the same seed."""
        order = torch.randperm(len(self), generator=torch.Generator().manual_seed(seed))
        chosen = order[:count].to(self.pixels.device)
        return Examples(self.pixels[chosen], self.targets_nk[chosen], self.weights_n[chosen])


def make_examples(dataset: Dataset, recipe: Recipe) -> Examples:
    """Return the images of `dataset` that have targets by the recipe, on the CPU.

    Raises:
        ConfigError: the recipe trains on votes and the dataset lacks some of them.
        DataError: no image has `targets.min_votes` votes, or fewer than two classes occur in the
            images.
    """
    labels = recipe.learnt_labels
    if recipe.targets.kind == "votes":
        targets, weights = _vote_targets(dataset, recipe, labels)
    else:
        targets, weights = _label_targets(dataset, labels, recipe.predicted_labels)
    # An image of other classes only would be trained towards nothing.
    rows = np.flatnonzero(weights > 0)
    counts = targets[rows].sum(axis=0)
    present = [label for label, count in zip(labels, counts, strict=True) if count > 0]
    if len(present) < 2:
        found = f"only {present[0]!r}" if present else "none of them"
        raise DataError(
            f"{dataset.name}: of the labels {', '.join(labels)}, {found} occurs in the "
            f"{len(dataset.labels_n)} training images",
            hint="check `mien data show DIR`, or choose other labels: labels = 'a,b'",
        )
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.images_nhw[rows]))
    return Examples(
        pixels[:, None],
        torch.from_numpy(targets[rows].astype(np.float32)),
        torch.from_numpy(weights[rows].astype(np.float32)),
    )


def sampling_chance(examples: Examples, sampling: str) -> Tensor | None:
    """Return the probability of each image to be sampled, up to a factor; see `fit.sampling`.

    An image with soft labels counts for each class in proportion.

    Returns:
        float32 [n], on the CPU; None for 'uniform'.
    """
    if sampling == "uniform":
        return None
    fractions_k = class_fractions(examples.targets_nk, examples.weights_n)
    return (examples.targets_nk @ sampling_factors(fractions_k, sampling)).cpu()


def sampling_factors(fractions_k: Tensor, sampling: str) -> Tensor:
    """Return how much oftener an image of each class is drawn, float32 [k], up to a factor."""
    power = {"uniform": 0.0, "square_root": 0.5, "balanced": 1.0}[sampling]
    return torch.where(fractions_k > 0, fractions_k.clamp_min(1e-12) ** -power, 0.0)


def batches(
    examples: Examples,
    batch_size: int,
    generator: torch.Generator,
    chance_n: Tensor | None = None,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (pixels, targets, weights) in random order; the last incomplete batch is dropped.

    Args:
        examples: training images.
        batch_size: images per batch.
        generator: a CPU generator.
        chance_n: sample with replacement, in proportion to these, float32 [n]; None takes each
            image once.

    Raises:
        DataError: there are fewer images than one batch holds.
    """
    if len(examples) < batch_size:
        raise DataError(
            f"{len(examples)} training images are fewer than one batch of {batch_size}",
            hint=f"set fit.batch_size={max(2, len(examples) // 4)}, or import more images",
        )
    if chance_n is None:
        order = torch.randperm(len(examples), generator=generator)
    else:
        # As many as there are images, so that an epoch stays one.
        order = torch.multinomial(chance_n, len(examples), replacement=True, generator=generator)
    # Without the incomplete batch: one image alone would break batch normalisation.
    for start in range(0, len(order) - batch_size + 1, batch_size):
        chosen = order[start : start + batch_size].to(examples.pixels.device)
        yield examples.pixels[chosen], examples.targets_nk[chosen], examples.weights_n[chosen]


def _label_targets(
    dataset: Dataset, labels: tuple[str, ...], predicted: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    absent = [label for label in predicted if label not in dataset.label_names]
    if absent:
        raise DataError(
            f"{dataset.name} has no label {absent[0]!r}, which the recipe's labels contain",
            hint=did_you_mean(absent[0], dataset.label_names)
            + f"its labels are: {', '.join(dataset.label_names)}; take them all: labels = 'auto'",
        )
    targets = np.zeros((len(dataset.labels_n), len(labels)))
    for column, label in enumerate(labels):
        if label in dataset.label_names:
            targets[dataset.labels_n == dataset.label_names.index(label), column] = 1.0
    return targets, targets.sum(axis=1)


def _vote_targets(
    dataset: Dataset, recipe: Recipe, labels: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    missing = [label for label in labels if label not in dataset.vote_names]
    if dataset.votes_nk is None or missing:
        raise ConfigError(
            f"{dataset.name} has no votes for {', '.join(missing or labels)}, "
            "but the recipe has targets.kind = 'votes'",
            hint="train on the labels (targets.kind=auto, labels=auto), or import the votes",
        )
    most, needed = max_votes(dataset, labels), recipe.targets.min_votes
    if 0 < most < needed:
        raise DataError(
            f"{dataset.name}: no training image has targets.min_votes = {needed} votes for "
            f"{', '.join(labels)}; the most is {most:g}",
            hint=f"set targets.min_votes={max(int(most), 1)}, or train on the labels: "
            "targets.kind=labels",
        )
    columns = [dataset.vote_names.index(label) for label in labels]
    votes = dataset.votes_nk[:, columns].astype(np.float64)
    learnt_votes = votes.sum(axis=1)
    all_votes = np.maximum(dataset.votes_nk.sum(axis=1), 1)
    # A face counts in the loss as much as its raters chose among the learnt classes.
    enough = learnt_votes >= max(recipe.targets.min_votes, 1)
    # Of all raters: a face that most of them called surprised is not clearly happy.
    enough &= votes.max(axis=1) >= recipe.targets.min_agreement * all_votes
    weights = np.where(enough, learnt_votes / all_votes, 0.0)
    fractions = votes / np.maximum(learnt_votes, 1)[:, None]
    # Raised and normalised again: a power above 1 favours the raters' majority.
    fractions **= _sharpening(fractions, weights, recipe.targets)[:, None]
    targets = fractions / np.maximum(fractions.sum(axis=1), 1e-12)[:, None]
    return targets, weights


def _sharpening(
    fractions_nk: NDArray[np.float64], weights_n: NDArray[np.float64], config: TargetConfig
) -> NDArray[np.float64]:
    """Return the exponent of each face's vote fractions, float64 [n]: larger for rare classes."""
    majority_n = fractions_nk.argmax(axis=1)
    count_k = np.bincount(majority_n, weights=weights_n, minlength=fractions_nk.shape[1])
    rarity_k = 1 - count_k / max(count_k.max(), 1e-12)
    power_n: NDArray[np.float64] = config.sharpen * (
        1 + (config.sharpen_rare - 1) * rarity_k[majority_n]
    )
    return power_n
