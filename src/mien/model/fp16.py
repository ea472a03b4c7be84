"""fp16 weights: half of the file size, and the same arithmetic in float32.

ONNX Runtime converts them to float32 once, when it loads the graph. Code that edits a graph calls
`to_fp32` first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import MissingExtraError, ModelFileError

if TYPE_CHECKING:
    from onnx import ModelProto

GRAPH = "model."
"""Prefix of the names of a network's weights in an exported graph."""
SUFFIX = "_16"
MIN_VALUES = 1024
"""Minimum number of values in a tensor that is converted: smaller ones do not pay for a node."""
MAX_FP16 = float(np.finfo(np.float16).max)


def to_fp16(content: bytes) -> bytes:
    """Return an ONNX file with its large float32 tensors rounded to float16.

    Raises:
        ModelFileError: a weight is beyond what 16 bits can hold (65,504).
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("train", "converting weights to fp16") from error
    model = onnx.load_model_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        # Other constants, such as the sampling grid of a spatial transformer, stay exact.
        is_weight = tensor.name.startswith(GRAPH) and tensor.data_type == onnx.TensorProto.FLOAT
        if not is_weight or np.prod(tensor.dims) < MIN_VALUES:
            continue
        values = numpy_helper.to_array(tensor)
        # numpy would make it infinite with no more than a warning.
        if float(np.abs(values).max()) > MAX_FP16:
            raise ModelFileError(
                f"{tensor.name} holds {np.abs(values).max():.3g}, over the maximum of fp16, 65,504",
                hint="keep the weights of this model in float32: half=False",
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + SUFFIX))
        casts.append(onnx.helper.make_node("Cast", [name + SUFFIX], [name], to=tensor.FLOAT))
    # In front, because ONNX wants each node behind those that it reads.
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def to_fp32(model: ModelProto) -> ModelProto:
    """Return the model with float32 weights, changed in place; the rounding of `to_fp16` stays."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        # Only our own nodes: a network may have other casts.
        if node.op_type == "Cast" and node.input[0] == node.output[0] + SUFFIX:
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
    return model
