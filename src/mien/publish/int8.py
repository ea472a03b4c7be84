"""A float32 model to an int8 one: static quantisation by ONNX Runtime's own tools.

Weights become int8 of 7 bits, one scale for each output channel; activations become uint8, with
ranges measured on training faces. The pixels' normalisation and the last layer's sum stay float32.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError
from mien.model.fp16 import to_fp32
from mien.model.info import ALIGNMENT_NODE, INPUT_NAME
from mien.publish.prior import OFFSET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from onnx import GraphProto

QUANTIZED = ("Conv", "Relu", "Add", "AveragePool", "MaxPool", "GlobalAveragePool", "Concat")
"""Kinds of nodes that become int8: convolutions, and the nodes between them."""
BATCH = 64


def quantize(content: bytes, crops_nhw: NDArray[np.uint8]) -> bytes:
    """Return an ONNX file's int8 form, with the description that it carried.

    Args:
        content: content of a float32 model file.
        crops_nhw: uint8 [n, size, size], training faces that the ranges are measured on.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
        import onnxruntime.quantization as ort
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("train", "int8 models") from error
    model = onnx.load_model_from_string(content)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    with tempfile.TemporaryDirectory(prefix="mien-int8-") as folder:
        given, prepared, done = (Path(folder) / f"{name}.onnx" for name in ("a", "b", "c"))
        # Given as a ModelProto it would come back without its weights.
        given.write_bytes(to_fp32(model).SerializeToString())
        # Folds batch normalisation into the convolutions before them, and infers shapes.
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        ort.quantize_static(
            prepared,
            done,
            _Faces(crops_nhw),
            quant_format=ort.QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTIZED),
            # The prior stays one exact addition, which `mien calibrate --prior` can change.
            nodes_to_exclude=[*_alignment_nodes(onnx.load(prepared).graph), OFFSET],
            per_channel=True,
            activation_type=ort.QuantType.QUInt8,
            weight_type=ort.QuantType.QInt8,
            # Weights of 7 bits. Processors without VNNI add two products of a uint8 and an int8 in
            # 16 bits, which saturate: 2 x 255 x 127 is more than 32,767, 2 x 255 x 64 is not. With
            # 8 bits mien-tiny lost 1.2 points there and mien-small 7.
            reduce_range=True,
            # Ranges are the batches' mean extremes: those of one odd face would be too wide.
            calibrate_method=ort.CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": True},
        )
        model = onnx.load_model(done)
    _merge_duplicates(model.graph)
    onnx.helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def _alignment_nodes(graph: GraphProto) -> list[str]:
    """Return the nodes of the spatial transformer, which stays float32: rounding moves the face."""
    makers = {output: node for node in graph.node for output in node.output}
    wanted = [node.input[1] for node in graph.node if node.op_type == ALIGNMENT_NODE]
    found: dict[str, None] = {}
    # Backwards from the sampling positions to everything that they depend on.
    while wanted:
        node = makers.get(wanted.pop())
        if node is not None and node.name not in found:
            found[node.name] = None
            wanted.extend(node.input)
    return list(found)


def _merge_duplicates(graph: GraphProto) -> None:
    """Keep one of all stored tensors that are equal.

    The quantizer gives the branch of the mirror image a copy of all weights, half of the file.
    """
    kept: dict[bytes, str] = {}
    same: dict[str, str] = {}
    for tensor in list(graph.initializer):
        # Without the name, equal tensors serialise to equal bytes.
        name, tensor.name = tensor.name, ""
        same[name] = kept.setdefault(tensor.SerializeToString(), name)
        tensor.name = name
        if same[name] != name:
            graph.initializer.remove(tensor)
    for node in graph.node:
        node.input[:] = [same.get(name, name) for name in node.input]


class _Faces:
    """Training faces in the form that ONNX Runtime's calibration asks for."""

    def __init__(self, crops_nhw: NDArray[np.uint8]) -> None:
        self._batches = self._split(crops_nhw)

    @staticmethod
    def _split(crops_nhw: NDArray[np.uint8]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(crops_nhw), BATCH):
            pixels = np.ascontiguousarray(crops_nhw[start : start + BATCH])
            yield {INPUT_NAME: pixels[:, None]}

    def get_next(self) -> dict[str, Any] | None:
        return next(self._batches, None)
