"""Weights stored in 16 bits: half of the file, and the same arithmetic in float32.

ONNX Runtime widens them once, when it loads the graph; whoever looks into a graph widens them
first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import MissingExtraError, ModelFileError

if TYPE_CHECKING:
    from onnx import ModelProto

GRAPH = "model."
"""What an exported graph puts before the names of a network's weights."""
SUFFIX = "_16"
FROM = 1024
"""Numbers in a tensor from which on it is worth a node of its own that widens it."""
LARGEST = float(np.finfo(np.float16).max)


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
        raise MissingExtraError.of("train", "storing weights in 16 bits") from error
    model = onnx.load_model_from_string(content)
    casts = []
    for tensor in model.graph.initializer:
        # Other constants, such as the places where an aligned image is sampled, stay exact.
        learnt = tensor.name.startswith(GRAPH) and tensor.data_type == onnx.TensorProto.FLOAT
        if not learnt or np.prod(tensor.dims) < FROM:
            continue
        values = numpy_helper.to_array(tensor)
        if float(np.abs(values).max()) > LARGEST:
            raise ModelFileError(
                f"{tensor.name} holds {np.abs(values).max():.3g}, too much for 16 bits",
                hint="store this model in 32 bits: leave --half out",
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + SUFFIX))
        casts.append(onnx.helper.make_node("Cast", [name + SUFFIX], [name], to=tensor.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def to_fp32(model: ModelProto) -> ModelProto:
    """Undo `to_fp16`, but for its rounding: return the model, changed in place."""
    from onnx import numpy_helper

    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in list(model.graph.node):
        if node.op_type == "Cast" and node.input[0] == node.output[0] + SUFFIX:
            tensor = stored[node.input[0]]
            values = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
            model.graph.node.remove(node)
    return model
