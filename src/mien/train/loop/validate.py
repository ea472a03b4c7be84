"""Validation: images with their true labels, and the scores of a network on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from mien.data.ground_truth import consensus_targets, label_targets
from mien.errors import DataError
from mien.train.loop.loader import Examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe

SCORING_BATCH = 256


def scored_examples(split: Dataset, recipe: Recipe) -> Examples:
    """Return the images of a split that have a true label, with one-hot targets, on the CPU.

    Raises:
        DataError: no image of the split has one of the recipe's labels.
    """
    labels = recipe.predicted_labels
    y_true_n = true_labels(split, recipe)
    rows = np.flatnonzero(y_true_n >= 0)
    if not len(rows):
        raise DataError(
            f"{split.name}: the true label of no {split.splits_n[0]} image is one of "
            f"{', '.join(labels)}",
            hint="check `mien data show DIR`; `mien data import SOURCE OUT --validation 0.15` "
            "holds out a validation split",
        )
    pixels = torch.from_numpy(np.ascontiguousarray(split.images_nhw[rows]))[:, None]
    targets = np.eye(len(labels), dtype=np.float32)[y_true_n[rows]]
    return Examples(pixels, torch.from_numpy(targets), torch.ones(len(rows)))


def true_labels(split: Dataset, recipe: Recipe, labels: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return each image's true label as an index into `labels`, int64 [n]; -1 for none.

    It is the raters' consensus if the recipe trains on votes and the split has them, else the
    dataset's label.

    Args:
        split: images with labels and, optionally, votes.
        recipe: decides between consensus and label (`targets.kind`).
        labels: the labels to choose from; those of the recipe if empty.
    """
    labels = labels or recipe.predicted_labels
    if recipe.targets.kind == "votes" and split.votes_nk is not None:
        return consensus_targets(split.votes_nk, split.vote_names, labels)
    return label_targets(split.labels_n, split.label_names, labels)


@torch.inference_mode()
def score(model: Model, examples: Examples) -> tuple[float, float, float]:
    """Return log loss, accuracy and balanced accuracy on examples with one-hot targets."""
    classes = examples.targets_nk.shape[1]
    model.eval()
    # The labels that the model predicts come first among those that it learnt.
    logits = torch.cat(
        [model(part.float())[:, :classes] for part in torch.split(examples.pixels, SCORING_BATCH)]
    )
    y_true = examples.targets_nk.argmax(dim=1)
    loss = torch.nn.functional.cross_entropy(logits, y_true)
    hits = (logits.argmax(dim=1) == y_true).float()
    counts = torch.bincount(y_true, minlength=classes)
    # Over the classes that occur: an absent one has no recall.
    recalls = (
        torch.bincount(y_true, weights=hits, minlength=classes)[counts > 0] / counts[counts > 0]
    )
    return float(loss), float(hits.mean()), float(recalls.mean())
