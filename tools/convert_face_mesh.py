"""Converts MediaPipe's face mesh from TensorFlow Lite to ONNX: 468 points of a face.

    pip download --no-deps mediapipe==0.10.21 && unzip mediapipe-*.whl -d mediapipe-wheel
    pip install onnx flatbuffers
    python tools/convert_face_mesh.py mediapipe-wheel/mediapipe --out face_mesh.onnx

The network: Kartynnik, Ablavatski, Grishchenko, Grundmann, "Real-time Facial Surface Geometry from
Monocular Video on Mobile GPUs", 2019, arXiv:1907.06724. The wheel (Apache-2.0) has it as
`modules/face_landmark/face_landmark.tflite`; none of its code is run. The graph keeps the
arithmetic: only the layout changes, to channels first, and the score gets the sigmoid that
MediaPipe applies outside of the file. Input `pixels`, float32 [n, 192, 192, 3], RGB from 0 to 1;
outputs `points`, float32 [n, 468, 3], x, y and depth in pixels of the input, and `scores`, float32
[n], 0 to 1, how much each image is a face.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

INSIDE = Path("modules/face_landmark/face_landmark.tflite")
SHA256 = "1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814"
"""Of the file in mediapipe 0.10.21."""
ADD, CONV, DEPTHWISE, DEQUANTIZE, MAX_POOL, PAD, PRELU = 0, 3, 4, 6, 17, 34, 54
"""Numbers of the operators that the network has, TensorFlow Lite's `BuiltinOperator`."""
DTYPES = {0: "<f4", 1: "<f2", 2: "<i4"}
"""TensorFlow Lite's `TensorType`."""


class Record:
    """A table of a FlatBuffers file; its fields are named by their position in the schema.

    The schema is TensorFlow Lite's `schema.fbs`, version 3.

    Args:
        table: of the package flatbuffers.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    @classmethod
    def root(cls, content: bytes) -> Self:
        """Return the file's outermost table."""
        return cls(Table(content, encode.Get(packer.uoffset, content, 0)))

    def integer(self, field: int, flags: Any = number_types.Int32Flags, default: int = 0) -> int:
        """Return a number, or its default where the file omits it."""
        offset = self._offset(field)
        return int(self._table.Get(flags, self._table.Pos + offset)) if offset else default

    def integers(self, field: int) -> list[int]:
        """Return a vector of int32."""
        return [int(value) for value in self._array(field, "<i4")]

    def content(self, field: int) -> bytes:
        """Return a vector of bytes."""
        return self._array(field, "u1").tobytes()

    def record(self, field: int) -> Record:
        """Return a table."""
        table = self._table
        return Record(Table(table.Bytes, table.Indirect(table.Pos + self._offset(field))))

    def records(self, field: int) -> list[Record]:
        """Return a vector of tables."""
        offset, table = self._offset(field), self._table
        if not offset:
            return []
        start = table.Vector(offset)
        places = [start + 4 * i for i in range(table.VectorLen(offset))]
        return [Record(Table(table.Bytes, table.Indirect(place))) for place in places]

    def _array(self, field: int, dtype: str) -> NDArray[Any]:
        offset, table = self._offset(field), self._table
        if not offset:
            return np.zeros(0, dtype)
        return np.frombuffer(
            table.Bytes, dtype, count=table.VectorLen(offset), offset=table.Vector(offset)
        )

    def _offset(self, field: int) -> int:
        # The first two slots of a table's index are its sizes.
        return int(self._table.Offset(4 + 2 * field))


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the network.

    Attributes:
        name: in the ONNX graph.
        shape: batch, height, width, channels; of weights as TensorFlow has them.
        value: of a constant; None for what is computed.
    """

    name: str
    shape: tuple[int, ...]
    value: NDArray[Any] | None


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the network: its kind, and its tensors by their indices."""

    kind: int
    inputs: list[int]
    outputs: list[int]
    record: Record

    @property
    def options(self) -> Record:
        """Its options; an operator without options has no such table."""
        return self.record.record(4)


class Network:
    """The tensors and operators of a TensorFlow Lite file with one graph.

    Args:
        content: of the file.
    """

    def __init__(self, content: bytes) -> None:
        model = Record.root(content)
        (graph,) = model.records(2)
        buffers = model.records(4)
        kinds = [
            max(code.integer(0, number_types.Int8Flags), code.integer(3))
            for code in model.records(1)
        ]
        self.tensors = [
            _tensor(record, buffers, f"t{index}") for index, record in enumerate(graph.records(0))
        ]
        self.inputs, self.outputs = graph.integers(1), graph.integers(2)
        self.operators = [
            Operator(
                kinds[record.integer(0, number_types.Uint32Flags)],
                record.integers(1), record.integers(2), record,
            ) for record in graph.records(3)
        ]  # fmt: skip


def _tensor(record: Record, buffers: list[Record], name: str) -> Tensor:
    shape = tuple(record.integers(0))
    content = buffers[record.integer(2, number_types.Uint32Flags)].content(0)
    if not content:
        return Tensor(name, shape, None)
    dtype = DTYPES[record.integer(1, number_types.Int8Flags)]
    return Tensor(name, shape, np.frombuffer(content, dtype).reshape(shape))


class Graph:
    """Collects the nodes and constants of the ONNX graph.

    Args:
        network: what to convert.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._values = {
            index: tensor.value
            for index, tensor in enumerate(network.tensors)
            if tensor.value is not None
        }
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: Operator) -> None:
        """Add an operator.

        Raises:
            ValueError: the operator is of a kind, or has an option, that the face mesh lacks.
        """
        out = operator.outputs[0]
        if operator.kind == DEQUANTIZE:  # constants are stored as float16
            self._values[out] = self._values[operator.inputs[0]].astype(np.float32)
        elif operator.kind in (CONV, DEPTHWISE):
            self._convolution(operator)
        elif operator.kind == MAX_POOL:
            source, options = operator.inputs[0], operator.options
            kernel = [options.integer(4), options.integer(3)]
            _check(not options.integer(5, number_types.Int8Flags), "a fused activation")
            strides, pads = self._window(source, options, kernel)
            self._node("MaxPool", [self._name(source)], out,
                       kernel_shape=kernel, strides=strides, pads=pads)  # fmt: skip
        elif operator.kind == PAD:
            before, after = self._values[operator.inputs[1]][[0, 3, 1, 2]].T.tolist()
            amounts = self._constant(f"pads{out}", np.array(before + after, np.int64))
            self._node("Pad", [self._name(operator.inputs[0]), amounts], out)
        elif operator.kind == PRELU:
            slopes = self._values[operator.inputs[1]].reshape(-1, 1, 1)
            self._node("PRelu", [self._name(operator.inputs[0]),
                                 self._constant(f"slopes{out}", slopes)], out)  # fmt: skip
        elif operator.kind == ADD:
            _check(not operator.options.integer(0, number_types.Int8Flags), "a fused activation")
            self._node("Add", [self._name(i) for i in operator.inputs], out)
        else:
            _check(False, f"operator {operator.kind}")

    def _convolution(self, operator: Operator) -> None:
        source, weights, bias = operator.inputs
        out, options, depthwise = operator.outputs[0], operator.options, operator.kind == DEPTHWISE
        _check(not options.integer(4 if depthwise else 3, number_types.Int8Flags),
               "a fused activation")  # fmt: skip
        dilations = [options.integer(5 if depthwise else 4, default=1),
                     options.integer(6 if depthwise else 5, default=1)]  # fmt: skip
        _check(dilations == [1, 1], f"dilations {dilations}")
        # [1, h, w, channels] of a depthwise convolution, [filters, h, w, channels] of others.
        kernel = self._values[weights].transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
        size = list(kernel.shape[2:])
        strides, pads = self._window(source, options, size)
        inputs = [
            self._name(source),
            self._constant(f"weights{out}", kernel),
            self._constant(f"bias{out}", self._values[bias]),
        ]
        self._node("Conv", inputs, out, kernel_shape=size, strides=strides, pads=pads,
                   group=kernel.shape[0] if depthwise else 1)  # fmt: skip

    def _window(
        self, source: int, options: Record, kernel: list[int]
    ) -> tuple[list[int], list[int]]:
        """Return strides and pads, (top, left, bottom, right), of a convolution or pooling."""
        strides = [options.integer(2), options.integer(1)]
        if options.integer(0, number_types.Int8Flags):  # 'valid'
            return strides, [0, 0, 0, 0]
        sides = self._network.tensors[source].shape[1:3]
        pads = [
            max((-(-side // stride) - 1) * stride + size - side, 0)
            for side, stride, size in zip(sides, strides, kernel, strict=True)
        ]
        # 'same': where the sum is odd, TensorFlow pads more at the bottom and on the right.
        before = [pad // 2 for pad in pads]
        return strides, [*before, *(pad - b for pad, b in zip(pads, before, strict=True))]

    def _name(self, index: int) -> str:
        return self._network.tensors[index].name

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def _node(self, kind: str, inputs: list[str], out: int, **attributes: Any) -> None:
        name = self._name(out)
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))


def _check(condition: bool, what: str) -> None:
    if not condition:
        raise ValueError(f"the file has {what}, which MediaPipe's face mesh does not have")


def convert(content: bytes) -> onnx.ModelProto:
    """Return the network of a TensorFlow Lite file as ONNX, checked.

    Args:
        content: of the file: one input [1, side, side, 3]; outputs of 3 p coordinates and 1 score.

    Raises:
        ValueError: it has operators that the face mesh lacks.
    """
    network = Network(content)
    graph = Graph(network)
    for operator in network.operators:
        graph.add(operator)
    (source,) = (network.tensors[i] for i in network.inputs)
    points, score = (network.tensors[i] for i in network.outputs)
    count = points.shape[-1] // 3
    nodes = [
        helper.make_node("Transpose", ["pixels"], [source.name], "first", perm=[0, 3, 1, 2]),
        *graph.nodes,
        helper.make_node("Reshape", [points.name, "shape"], ["points"], "to_points"),
        helper.make_node("Sigmoid", [score.name], ["probability"], "probability"),
        helper.make_node("Reshape", ["probability", "flat"], ["scores"], "to_scores"),
    ]  # fmt: skip
    shapes = {"shape": [-1, count, 3], "flat": [-1]}
    constants = [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in shapes.items()]
    pixels: list[str | int | None] = ["n", *source.shape[1:]]
    body = helper.make_graph(
        nodes, "face_mesh",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, pixels)],
        [helper.make_tensor_value_info("points", TensorProto.FLOAT, ["n", count, 3]),
         helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n"])],
        [*graph.constants, *constants],
    )  # fmt: skip
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    notes = {"source": "face_landmark.tflite of the wheel mediapipe", "licence": "Apache-2.0"}
    helper.set_model_props(model, notes)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mediapipe", type=Path, help="folder of the package mediapipe")
    parser.add_argument("--out", type=Path, required=True, help="ONNX file to write")
    args = parser.parse_args()
    source: Path = args.mediapipe / INSIDE
    if not source.is_file():
        raise SystemExit(f"{source} is missing; give the folder mediapipe of mediapipe 0.10.21")
    content = source.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{source} is not that of mediapipe 0.10.21: SHA-256 {digest}")
    model = convert(content)
    out: Path = args.out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(model.SerializeToString(deterministic=True))
    print(f"{out}: {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
