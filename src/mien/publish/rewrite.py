"""A model file written anew with another description; its network stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from mien.errors import ConfigError, MissingExtraError
from mien.evaluate.evaluate import evaluate
from mien.evaluate.report import yardsticks
from mien.files import write_bytes, write_text
from mien.publish.card import model_card

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from mien.data.dataset import Dataset
    from mien.evaluate.evaluate import Evaluation
    from mien.model.classifier import Classifier
    from mien.model.info import ModelInfo


def refuse_form(destination: Path) -> None:
    """Raise a ConfigError where a file to write is not named as an ONNX file.

    ONNX under the name of a checkpoint (x.pt) would be opened by nobody, mien included.
    """
    if destination.suffix.lower() != ".onnx":
        raise ConfigError(
            f"destination: mien writes ONNX files, whose names end in .onnx; got {destination}",
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
    """Return n and accuracy on each yardstick, as a model file carries them."""
    return {
        name: {"n": metrics.n, "accuracy": metrics.headlines["accuracy"].to_dict()}
        for name, metrics in yardsticks(evaluation)
    } | {"split": evaluation.split, "data": evaluation.data}


def write_model(
    model: Classifier, content: bytes, destination: Path, dataset: Dataset, split: str, note: str
) -> tuple[ModelInfo, Evaluation]:
    """Grade a model, and write it with its figures and its sets of labels, and its card.

    Args:
        model: whose `info` is the description to complete.
        content: of its ONNX file, whose own description is replaced.
        destination: the file to write.
        dataset: labelled faces that the model was not trained on.
        split: of the dataset.
        note: words on the data for the model card.

    Raises:
        ConfigError: `destination` does not end in .onnx.
        DataError: no such split, or too few images in it carry one of the model's labels.
    """
    refuse_form(destination)
    evaluation = evaluate(model, dataset, split)
    coverage = coverage_metadata(evaluation)
    info = replace(model.info, metrics=_headlines(evaluation), coverage=coverage)
    write_bytes(destination, with_info(content, info))
    command = f"mien evaluate {destination.name} --data DIR --split {split}"
    write_text(destination.with_suffix(".md"), model_card(info, evaluation, command, note))
    return info, evaluation


def coverage_metadata(evaluation: Evaluation) -> dict[str, Any]:
    """Return what a model file carries so that `mien predict --coverage` can make sets."""
    by, metrics = next(yardsticks(evaluation))
    data = f"{evaluation.data}, {evaluation.split} split, fingerprint {evaluation.fingerprint}"
    return {"by": by, "n": metrics.n, "data": data, "least": metrics.confidence.least}
