"""Quantization to int8, its accuracy and its speed: read `quantize_model` first."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.sources.resize import resize_crops
from mien.errors import ModelFileError
from mien.evaluate.bootstrap import paired_accuracy
from mien.evaluate.predictions import ground_truth_of, predict_table
from mien.evaluate.report import GROUND_TRUTHS
from mien.model.classifier import Classifier
from mien.model.resolve import INT8
from mien.model.throughput import faces_per_second
from mien.publish.int8 import quantize
from mien.publish.rewrite import refuse_form, write_model

if TYPE_CHECKING:
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.evaluate.bootstrap import Estimate
    from mien.model.info import ModelInfo

FACES = 1024
"""Number of training faces that the ranges of activations are measured on."""
MAX_LOSS = 0.003
"""Largest loss of accuracy that is accepted by default, as a fraction."""


@dataclass(frozen=True, slots=True)
class Quantized:
    """Result of `quantize_model`.

    Attributes:
        info: the description inside the file.
        by: the ground truth, 'consensus' or 'raw'.
        n: number of faces with that ground truth.
        loss: accuracy of float32 minus that of int8 on them, with the interval of the difference.
        changed: fraction of faces whose predicted label changes.
        speed: speed of int8 over that of float32, in one run, one thread, batches of 64.
        size: size of the int8 file over that of the float32 file.
    """

    info: ModelInfo
    by: str
    n: int
    loss: Estimate
    changed: float
    speed: float
    size: float


def quantize_model(
    content: bytes,
    name: str,
    destination: Path,
    dataset: Dataset,
    *,
    max_loss: float = MAX_LOSS,
    note: str = "",
    timing_s: float = 2.0,
) -> Quantized:
    """Write a model's int8 form and its card, unless it loses too much accuracy.

    Ranges are measured on training faces; accuracy is compared on the validation split.

    Args:
        content: content of the float32 model file.
        name: its name, for messages.
        destination: the file to write.
        dataset: dataset with a train and a validation split.
        max_loss: largest accepted loss of accuracy, as a fraction.
        note: text on the data for the model card.
        timing_s: seconds of timing for each form.

    Raises:
        ConfigError: `destination` does not end in .onnx.
        ModelFileError: int8 already, or more accuracy is lost; nothing is written then.
        DataError: no such splits.
        MissingExtraError: the package onnx is not installed.
    """
    refuse_form(destination)
    before = _float_model(content, name)
    after_content = quantize(content, _training_faces(dataset, before.input_size))
    after = Classifier.from_bytes(after_content, name=f"{name} as int8", threads=1)
    by, n, loss, changed = compare_accuracy(before, after, dataset)
    if loss.value > max_loss:
        raise _too_much_lost(loss, f"{GROUND_TRUTHS[by]}, n = {n:,}", max_loss)
    # CPU time, because other programs slow down the wall clock.
    slow, fast = faces_per_second([before, after], seconds=timing_s, clock=time.process_time)
    measured = {"loss": loss.to_dict(), "by": by, "n": n, "changed": round(changed, 6)}
    model = Classifier(after.session, _describe(before.info, measured))
    info, _ = write_model(model, after_content, destination, dataset, "validation", note)
    size = destination.stat().st_size / len(content)
    return Quantized(info, by, n, loss, changed, fast / slow, size)


def _float_model(content: bytes, name: str) -> Classifier:
    """Load the model to quantize; the comparison needs the accuracy before quantization."""
    model = Classifier.from_bytes(content, name=name, threads=1)
    if model.info.precision != "float32":
        raise ModelFileError(
            f"{name} is an {model.info.precision} model already", hint="give the float32 model"
        )
    return model


def _describe(info: ModelInfo, measured: dict[str, Any]) -> ModelInfo:
    """Return the int8 model's description: the float32 model's, and what int8 costs."""
    return replace(
        info,
        name=info.name + INT8,
        precision="int8",
        quantized={"from": info.name, **measured, "faces": FACES},
        # `quantize` widened fp16 weights, and those of the layers that stay float remain so.
        weight_format="float32",
    )


def _too_much_lost(loss: Estimate, sample: str, max_loss: float) -> ModelFileError:
    return ModelFileError(
        f"int8 loses {100 * loss.value:.2f} points of accuracy ({100 * loss.low:.2f} to "
        f"{100 * loss.high:.2f}, {sample}); max_loss accepts at most {100 * max_loss:g}",
        hint="no int8 file was written; a larger max_loss accepts more",
    )


def _training_faces(dataset: Dataset, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    train = dataset.split("train")
    # A fixed seed: the same data give the same int8 file.
    chosen = np.random.default_rng(0).permutation(len(train))[:FACES]
    return resize_crops(np.asarray(train.images_nhw[np.sort(chosen)]), size)


def compare_accuracy(
    before: Classifier, after: Classifier, dataset: Dataset
) -> tuple[str, int, Estimate, float]:
    """Compare two models on the validation split, paired by image.

    Returns:
        Name of the ground truth, its n, the loss of accuracy (first minus second, 0 to 1, with a
        95% interval), and the fraction of images that get another label.
    """
    split = dataset.split("validation")
    first, second = predict_table(before, split), predict_table(after, split)
    by, y_true = ground_truth_of(first)
    # Paired by image: both models see the same faces, which makes the interval much narrower.
    known = y_true >= 0
    predicted = [table.logits_nk[known].argmax(axis=1) for table in (first, second)]
    hits = [(y_pred == y_true[known]).astype(np.float64) for y_pred in predicted]
    loss = paired_accuracy(hits[0], hits[1], split.groups_n[known])
    return by, int(known.sum()), loss, float((predicted[0] != predicted[1]).mean())
