"""A model file with another description; its network stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.errors import ConfigError, MissingExtraError
from mien.evaluate.evaluate import evaluate
from mien.evaluate.report import by_ground_truth
from mien.files import write_bytes, write_text
from mien.publish.card import model_card

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from mien.data.dataset import Dataset
    from mien.evaluate.evaluate import Evaluation
    from mien.model.classifier import Classifier
    from mien.model.info import ModelInfo


CARRIED = ("accuracy", "balanced_accuracy", "macro_f1")
"""Headline metrics in a model file."""


def refuse_form(destination: Path) -> None:
    """Raise a ConfigError where the name of a file to write does not end in .onnx.

    No program, mien included, opens ONNX under the name of a checkpoint (x.pt).
    """
    if destination.suffix.lower() != ".onnx":
        raise ConfigError(
            f"destination: {destination} must end in .onnx, since mien writes ONNX files",
            hint=f"for example {destination.with_suffix('.onnx')}; a run's PyTorch weights stand "
            "in its folder checkpoints/, as safetensors",
        )


def with_info(content: bytes, info: ModelInfo) -> bytes:
    """Return the content of an ONNX file with `info` as its description.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("train", "writing a model file") from error
    model = onnx.load_model_from_string(content)
    onnx.helper.set_model_props(model, info.to_metadata())
    return bytes(model.SerializeToString())


def _headlines(evaluation: Evaluation) -> dict[str, Any]:
    """Return the metrics that a model file carries, for each ground truth."""
    return {
        name: {
            "n": metrics.n,
            **{key: metrics.headlines[key].to_dict() for key in CARRIED},
            "recall": {one.label: {"n": one.n, **one.recall.to_dict()} for one in metrics.classes},
        }
        for name, metrics in by_ground_truth(evaluation)
    } | {"split": evaluation.split, "data": evaluation.data}


def write_model(
    model: Classifier, content: bytes, destination: Path, dataset: Dataset, split: str, note: str
) -> tuple[ModelInfo, Evaluation]:
    """Evaluate a model, and write it with its metrics, thresholds of prediction sets and card.

    Args:
        model: the model; its `info` is the description to complete.
        content: its ONNX file, whose own description is replaced.
        destination: the file to write.
        dataset: labelled faces that the model was not trained on.
        split: split of the dataset.
        note: text on the data for the model card.

    Raises:
        ConfigError: `destination` does not end in .onnx.
        DataError: no such split, or too few images in it carry one of the model's labels.
    """
    refuse_form(destination)
    # Of the very bytes that are written, and not of the network in torch.
    evaluation = evaluate(model, dataset, split)
    coverage = coverage_metadata(evaluation)
    info = replace(model.info, metrics=_headlines(evaluation), coverage=coverage)
    write_bytes(destination, with_info(content, info))
    command = f"mien evaluate {destination.name} --data DIR --split {split}"
    write_text(destination.with_suffix(".md"), model_card(info, evaluation, command, note))
    return info, evaluation


def write_without_metrics(info: ModelInfo, content: bytes, destination: Path) -> None:
    """Write a changed model whose metrics and prediction sets no longer hold, without them.

    Raises:
        ConfigError: `destination` does not end in .onnx.
    """
    refuse_form(destination)
    write_bytes(destination, with_info(content, replace(info, metrics={}, coverage={})))


def coverage_metadata(evaluation: Evaluation) -> dict[str, Any]:
    """Return what a model file carries for the prediction sets of `mien predict --coverage`."""
    by, metrics = next(by_ground_truth(evaluation))
    data = f"{evaluation.data}, {evaluation.split} split, fingerprint {evaluation.fingerprint}"
    return {
        "by": by,
        "n": metrics.n,
        "data": data,
        "min_probability": metrics.confidence.thresholds,
    }
