"""Grey crops to features: the input of an expression model's last layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import MissingExtraError, ModelFileError
from mien.model.classifier import BATCH
from mien.model.fp16 import to_fp32
from mien.model.info import INPUT_NAME
from mien.model.resolve import model_content
from mien.model.runtime import Session, open_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.model.resolve import ModelName

WEIGHTED = ("Gemm", "MatMul")


class Embedder:
    """The part of an ONNX model before its last layer, for one view of a face.

    Models that average over a face and its mirror image use their last layer twice; the graph is
    cut before the first use, so that embedding takes half the time of a prediction.

    Args:
        content: of the ONNX file.
        name: for messages.
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: damaged, or not a model that this mien can use.
        MissingExtraError: the package onnx is not installed.
    """

    def __init__(self, content: bytes, name: str, threads: int = 0) -> None:
        try:
            import onnx
            from onnx.utils import Extractor
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("audit", "embedding faces with a model") from error
        _, self.info = open_model(content, name, threads)
        model = onnx.shape_inference.infer_shapes(to_fp32(onnx.load_model_from_string(content)))
        weights = {i.name for i in model.graph.initializer}
        layers = [n for n in model.graph.node if n.op_type in WEIGHTED and n.input[1] in weights]
        if not layers:
            raise ModelFileError(
                f"{name} has no last layer to cut off",
                hint="use a model that mien export wrote, or the default model",
            )
        # A network that averages a mirrored view applies its last layer twice, with the same
        # weights.
        first = next(n for n in layers if n.input[1] == layers[-1].input[1])
        self._output = first.input[0]
        cut = Extractor(model).extract_model([INPUT_NAME], [self._output])
        self._session = Session(cut.SerializeToString(), name, threads)

    @classmethod
    def load(cls, model: ModelName | None = None, threads: int = 0) -> Embedder:
        """Return the model in a file, the shipped model of that name, or the default one."""
        return cls(*model_content(model), threads)

    def embed(
        self,
        crops_nhw: NDArray[np.uint8],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> NDArray[np.float32]:
        """Return features, float32 [n, d], for grey crops, uint8 [n, size, size] of the model.

        Args:
            crops_nhw: their size is `info.input_size`.
            progress: callback (done, total).
        """
        parts = []
        for start in range(0, len(crops_nhw), BATCH):
            pixels = np.ascontiguousarray(crops_nhw[start : start + BATCH])[:, None]
            output = self._session.run([self._output], **{INPUT_NAME: pixels})[0]
            parts.append(output.reshape(len(pixels), -1))
            progress(start + len(pixels), len(crops_nhw))
        return np.concatenate(parts) if parts else np.zeros((0, 0), np.float32)
