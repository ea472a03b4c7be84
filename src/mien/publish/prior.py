"""The class priors of a model: that of its training data, and that of its outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.data.ground_truth import consensus_targets, label_targets
from mien.errors import ConfigError, DataError
from mien.files import write_bytes
from mien.model.classifier import Classifier
from mien.predict.prior import TRAINING, estimate_prior, prior_shift
from mien.publish.rewrite import with_info

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.model.info import ModelInfo
    from mien.predict.prior import Prior

DIGITS = 6
OFFSET, UNCORRECTED = "prior_offset", "logits_before_prior"
"""Names of the constant that corrects the prior, and of the logits before it, in the graph."""
MIN_PRIOR = 0.001
"""Smallest probability of a label in an estimated prior."""


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
    # A prior of other data would be wrong without any sign of it.
    if dataset.fingerprint not in info.data:
        raise DataError(
            f"{path} was trained on {info.data or 'unknown data'}; {dataset.name} has the "
            f"fingerprint {dataset.fingerprint}",
            hint="give the dataset that the model was trained on",
        )
    train = dataset.split("train")
    prior = training_prior(train, info.labels)
    if prior is None:
        raise DataError(
            f"{dataset.name}'s train split has no image of one of {', '.join(info.labels)}",
            hint="a prior needs training images of every label",
        )
    heads = tuple(
        replace(head, training_prior=training_prior(train, head.labels)) for head in info.heads
    )
    info = replace(info, training_prior=prior, heads=heads)
    write_bytes(destination or path, with_info(content, info))
    return info


def with_output_prior(content: bytes, info: ModelInfo, prior: Prior) -> tuple[bytes, ModelInfo]:
    """Return a model file whose first output has another class prior, and its description.

    The correction is one addition to the logits at the end of the graph (Saerens et al. 2002;
    Menon et al. 2021, arXiv:2007.07314), so that whatever runs the file gets it. Further outputs
    stay as they are.

    Args:
        content: an ONNX file of mien.
        info: its description, with a training prior.
        prior: see `mien.predict.prior.prior_shift`; every probability above 0.

    Raises:
        ConfigError: an invalid prior, or one that rules a label out.
        ModelFileError: the file carries no training prior.
    """
    shift = prior_shift(info, prior)
    if shift is None:
        return content, info
    if min(shift.target_k) <= 0:
        raise ConfigError(
            "prior: a probability of 0 would rule a label out for good",
            hint="give every label a probability above 0, such as 0.01",
        )
    target = {label: round(p, DIGITS) for label, p in zip(info.labels, shift.target_k, strict=True)}
    changed = replace(info, prior=None if target == info.training_prior else target)
    return _with_offset(content, shift.offset_k, changed), changed


def _with_offset(content: bytes, offset_k: NDArray[np.float32], info: ModelInfo) -> bytes:
    """Return the file with a constant added to its first output; see `with_output_prior`."""
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_model_from_string(content)
    graph = model.graph
    known = {tensor.name: tensor for tensor in graph.initializer}
    if OFFSET in known:
        before = numpy_helper.to_array(known[OFFSET])
        # A second correction adds to the first instead of stacking another node.
        known[OFFSET].CopyFrom(numpy_helper.from_array(before + offset_k, OFFSET))
    else:
        output = graph.output[0].name
        for node in graph.node:
            node.output[:] = [UNCORRECTED if name == output else name for name in node.output]
        graph.initializer.append(numpy_helper.from_array(offset_k, OFFSET))
        graph.node.append(helper.make_node("Add", [UNCORRECTED, OFFSET], [output], name=OFFSET))
    onnx.checker.check_model(model)
    helper.set_model_props(model, info.to_metadata())
    return bytes(model.SerializeToString())


def estimate_output_prior(
    probabilities_nk: NDArray[np.float32], info: ModelInfo
) -> dict[str, float]:
    """Return the class prior of unlabelled faces, by EM; see `estimate_prior`.

    Args:
        probabilities_nk: the model's probabilities of the faces, float32 [n, k].
        info: of the model.

    Raises:
        ModelFileError: the file carries no training prior.
    """
    back = prior_shift(info, TRAINING)
    probabilities = probabilities_nk if back is None else back.correct(probabilities_nk)
    assert info.training_prior is not None  # noqa: S101  (`prior_shift` has refused others)
    training_k = np.array([info.training_prior[label] for label in info.labels])
    found = estimate_prior(probabilities, training_k / training_k.sum())
    # EM may reach 0 exactly, and a prior of 0 could never be corrected again.
    found = np.maximum(found, MIN_PRIOR) / np.maximum(found, MIN_PRIOR).sum()
    return {label: float(p) for label, p in zip(info.labels, found, strict=True)}


def training_prior(train: Dataset, labels: Sequence[str]) -> dict[str, float] | None:
    """Return `class_prior` of a training split's consensus, or of its labels without votes."""
    if train.votes_nk is not None:
        return class_prior(consensus_targets(train.votes_nk, train.vote_names, labels), labels)
    return class_prior(label_targets(train.labels_n, train.label_names, labels), labels)
