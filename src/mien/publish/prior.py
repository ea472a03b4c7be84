"""The class prior of a model's training data, and its place in a model file."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.data.ground_truth import consensus_targets, label_targets
from mien.errors import DataError
from mien.files import write_bytes
from mien.model.classifier import Classifier
from mien.publish.rewrite import with_info

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.model.info import ModelInfo

DIGITS = 6


def class_prior(y_true_n: NDArray[np.int64], labels: Sequence[str]) -> dict[str, float] | None:
    """Return the fraction of training images of each label; None where a label has no image.

    A model whose training balanced the classes has learnt a uniform prior instead.

    Args:
        y_true_n: int64 [n], indices into `labels`; -1, no ground truth, does not count.
        labels: labels of the model's output.
    """
    counts = np.bincount(y_true_n[y_true_n >= 0], minlength=len(labels))
    # A correction divides by the prior, so one with a zero is of no use.
    if not counts.all():
        return None
    fractions = (counts / counts.sum()).round(DIGITS)
    return {label: float(p) for label, p in zip(labels, fractions, strict=True)}


def write_training_prior(
    path: Path, dataset: Dataset, destination: Path | None = None
) -> ModelInfo:
    """Write the training prior into an existing model file; the network stays as it is.

    Only for models whose training did not balance the classes; `mien export` writes the prior of
    new ones.

    Args:
        path: an ONNX file of mien.
        dataset: the dataset that the model was trained on, with votes if it learnt from them.
        destination: file to write; `path` where None.

    Returns:
        The model's new description.

    Raises:
        DataError: another dataset, or a label without a training image.
        ModelFileError: not a model file of mien.
    """
    content = path.read_bytes()
    info = Classifier.from_bytes(content, name=str(path)).info
    if dataset.fingerprint not in info.data:
        raise DataError(
            f"{path} was trained on {info.data or 'unknown data'}; {dataset.name} has the "
            f"fingerprint {dataset.fingerprint}",
            hint="give the dataset that the model was trained on",
        )
    train = dataset.split("train")
    prior = _prior_of(train, info.labels)
    if prior is None:
        raise DataError(
            f"{dataset.name}'s train split has no image of one of {', '.join(info.labels)}",
            hint="a prior needs training images of every label",
        )
    heads = tuple(
        replace(head, training_prior=_prior_of(train, head.labels)) for head in info.heads
    )
    info = replace(info, training_prior=prior, heads=heads)
    write_bytes(destination or path, with_info(content, info))
    return info


def _prior_of(train: Dataset, labels: Sequence[str]) -> dict[str, float] | None:
    if train.votes_nk is not None:
        return class_prior(consensus_targets(train.votes_nk, train.vote_names, labels), labels)
    return class_prior(label_targets(train.labels_n, train.label_names, labels), labels)
