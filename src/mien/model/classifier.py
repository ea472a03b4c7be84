"""Grey crops to logits, in batches; independent of images and detectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.model.resolve import model_content
from mien.model.runtime import open_model, run_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.model.info import ModelInfo
    from mien.model.resolve import ModelName
    from mien.model.runtime import Session

BATCH = 64
"""Crops classified at once: larger batches are no faster and take more memory."""


class FaceClassifier(Protocol):
    """What classifies crops: a `Classifier`, or an object of a caller's own."""

    info: ModelInfo

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        ...


class Classifier:
    """An expression model from an ONNX file that carries its own description.

    Args:
        session: the loaded graph.
        info: the description in the file.
        labels: label set of one of its outputs: its labels in any order, or its name, such as
            'seven' (default: the first output's).

    Raises:
        ConfigError: no output has those labels.
    """

    def __init__(self, session: Session, info: ModelInfo, labels: str | Sequence[str] = ()) -> None:
        self.session, self._file = session, info
        if isinstance(labels, str):
            labels = info.named_labels(labels) if labels else ()
        self.info, self._output = info.select_labels(labels)

    def select_labels(self, labels: Sequence[str]) -> Classifier:
        """Return the same model, predicting these labels; their order does not matter.

        Raises:
            ConfigError: no output has them.
        """
        return Classifier(self.session, self._file, labels)

    @classmethod
    def load(
        cls,
        model: ModelName | None = None,
        threads: int = 0,
        provider: str = "cpu",
        labels: str | Sequence[str] = (),
    ) -> Classifier:
        """Return the model in a file, the shipped model of that name, or the default one.

        Args:
            model: see `mien.model.resolve.resolve`.
            threads: CPU threads (0 = all cores).
            provider: execution provider: cpu, cuda, openvino, coreml or directml.
            labels: see the class.

        Raises:
            ConfigError: no output has those labels, or the provider is not available.
            ModelFileError: missing, damaged, or not a model that this mien can use.
        """
        content, name = model_content(model)
        return cls.from_bytes(content, name=name, threads=threads, provider=provider, labels=labels)

    @classmethod
    def from_bytes(
        cls,
        content: bytes,
        *,
        name: str,
        threads: int = 0,
        provider: str = "cpu",
        labels: str | Sequence[str] = (),
    ) -> Classifier:
        """Return the model in the content of an ONNX file; `name` stands in messages."""
        return cls(*open_model(content, name, threads, provider), labels)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.info.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels, in the order of the logits."""
        return self.info.labels

    @property
    def input_size(self) -> int:
        """Height and width of a crop, in pixels."""
        return self.info.input_size

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return calibrated logits, float32 [n, k], for grey crops, uint8 [n, size, size].

        Raises:
            ValueError: crops of another size or type.
        """
        size = self.info.input_size
        # Floats from 0 to 1 would be accepted as nearly black images, and give wrong labels.
        if crops_nhw.dtype != np.uint8 or crops_nhw.shape[1:] != (size, size):
            raise ValueError(
                f"crops must be uint8 [n, {size}, {size}], got {crops_nhw.dtype} "
                f"{list(crops_nhw.shape)}"
            )
        pixels = np.ascontiguousarray(crops_nhw)[:, None]
        parts = [
            run_model(self.session, pixels[start : start + BATCH], self._output)
            for start in range(0, len(pixels), BATCH)
        ]
        # np.concatenate refuses an empty list, and no face is a result too.
        return np.concatenate(parts) if parts else np.zeros((0, len(self.labels)), np.float32)


def softmax(logits_nk: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the probabilities, float32 [n, k]; each row sums to 1."""
    # The largest is subtracted, so that exp never overflows.
    shifted = np.exp(logits_nk - logits_nk.max(axis=1, keepdims=True))
    probs: NDArray[np.float32] = shifted / shifted.sum(axis=1, keepdims=True)
    return probs.astype(np.float32, copy=False)
