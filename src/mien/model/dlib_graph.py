"""dlib's face-recognition ResNet as an ONNX graph, without torch.

The geometry is dlib's to the pixel (dnn_face_recognition_ex): a block that halves the image has an
unpadded convolution of stride 2 beside the mean of 2x2 pixels, and what either lacks in channels,
rows or columns counts as zeros.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError
from mien.model.dlib_format import BLOCKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.dlib_format import Convolution, DlibFace

INPUT, OUTPUT = "pixels", "descriptor"
OPSET = 17


def dlib_graph(network: DlibFace) -> bytes:
    """Return an ONNX file: uint8 [n, 150, 150, 3] RGB → float32 [n, 128] descriptors.

    Raises:
        MissingExtraError: the package onnx is not installed.
    """
    try:
        import onnx
        from onnx import helper
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("people", "comparing faces by dlib's network") from error
    graph = _Graph(helper)
    graph.network(network)
    size = network.size
    inputs = [helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["n", size, size, 3])]
    outputs = [helper.make_tensor_value_info(
        OUTPUT, onnx.TensorProto.FLOAT, ["n", network.last.shape[1]])]  # fmt: skip
    made = helper.make_graph(graph.nodes, "dlib-face", inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=8)
    content: bytes = model.SerializeToString()
    return content


class _Graph:
    """Nodes and weights of a graph while it grows."""

    def __init__(self, helper: Any) -> None:
        self._helper = helper
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def network(self, network: DlibFace) -> None:
        """Add all layers from pixels to descriptors."""
        x = self.node("Cast", INPUT, to=1)
        x = self.node("Transpose", x, perm=[0, 3, 1, 2])
        mean = np.array(network.mean_rgb, np.float32).reshape(1, 3, 1, 1)
        x = self.node("Sub", x, self.weight(mean))
        x = self.node("Div", x, self.weight(np.float32(256)))
        layers = iter(network.convolutions)
        x = self.node("Relu", self.convolution(x, next(layers), stride=2, padding=0))
        x = self.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
        side, channels = ((network.size - 7) // 2 + 1 - 3) // 2 + 1, 32
        for width, halves in BLOCKS:
            first = next(layers)
            branch = self.convolution(x, first, *((2, 0) if halves else (1, 1)))
            branch = self.convolution(self.node("Relu", branch), next(layers), 1, 1)
            if halves:
                branch_side, side = (side - 3) // 2 + 1, side // 2
                x = self.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
                branch = self.pad(branch, 0, side - branch_side)
                x = self.pad(x, width - channels, 0)
            x = self.node("Relu", self.node("Add", branch, x))
            channels = width
        x = self.node("Flatten", self.node("GlobalAveragePool", x))
        self.nodes.append(
            self._helper.make_node("MatMul", [x, self.weight(network.last)], [OUTPUT])
        )

    def convolution(self, x: str, layer: Convolution, stride: int, padding: int) -> str:
        """Add a convolution with its affine layer folded in."""
        gamma = layer.gamma.astype(np.float64)
        filters = layer.filters * gamma[:, None, None, None]
        bias = layer.bias * gamma + layer.beta
        side = layer.filters.shape[-1]
        return self.node(
            "Conv", x, self.weight(filters), self.weight(bias), kernel_shape=[side, side],
            strides=[stride, stride], pads=[padding] * 4,
        )  # fmt: skip

    def pad(self, x: str, channels: int, pixels: int) -> str:
        """Add zeros behind the channels, and below and to the right of the pixels."""
        if not channels and not pixels:
            return x
        pads = np.array([0, 0, 0, 0, 0, channels, pixels, pixels], np.int64)
        return self.node("Pad", x, self.weight(pads))

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = f"x{len(self.nodes)}"
        self.nodes.append(self._helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def weight(self, values: NDArray[Any] | np.float32) -> str:
        """Add a constant: int64 as it is, else float32; return its name."""
        from onnx import numpy_helper

        array = np.asarray(values)
        kept = array if array.dtype == np.int64 else array.astype(np.float32)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name
