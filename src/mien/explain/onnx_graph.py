"""Feature maps, gradients and random weights of an ONNX file, without torch.

A graph has no gradients, but Grad-CAM needs little of one: the *mean* gradient over a feature
map is the slope of the logit when a constant is added to that map. So the graph is cut at the
feature maps, and its second part, which is small, is run with each map moved up and down.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import MissingExtraError, ModelFileError
from mien.explain.explainable import random_weights, unmoved
from mien.model.classifier import Classifier
from mien.model.fp16 import to_fp32
from mien.model.info import ALIGNMENT_NODE, INPUT_NAME, OUTPUT_NAME
from mien.model.resolve import model_content
from mien.model.runtime import Session

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from onnx import GraphProto, ModelProto, NodeProto

STEP = 0.003
"""Finite difference step, in root mean squares of all maps: above rounding, below most kinks."""
SEVERAL = "mean of"
"""Prefix of an ensemble's network name: an ensemble is explained by occlusion only."""
WEIGHTED = ("Conv", "Gemm", "MatMul")


class OnnxExplainable:
    """An ONNX file as mien.explain.explainable.Explainable.

    Args:
        content: content of the file.
        name: name for messages.
        threads: CPU threads (0 = all cores).

    Raises:
        ModelFileError: damaged, int8, or not a model that this mien can use.
        MissingExtraError: the package onnx is not installed.
    """

    def __init__(self, content: bytes, name: str, threads: int = 0) -> None:
        try:
            import onnx
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("explain", "explaining an ONNX file") from error
        self._classifier = Classifier.from_bytes(content, name=name, threads=threads)
        self.info = self._classifier.info
        # A quantized graph is a staircase: finite differences are 0 or a whole step.
        if self.info.precision != "float32":
            raise ModelFileError(
                f"{name} is an {self.info.precision} model, which has no gradients",
                hint=f"explain {self.info.quantized.get('from', 'the float32 model it was')}",
            )
        self._name, self._threads = name, threads
        self._model: ModelProto = to_fp32(onnx.load_model_from_string(content))
        graph = self._model.graph
        self._weighted = _weighted_nodes(graph if self._several else _without_alignment(graph))
        self.layers = tuple(_layer_name(node, weights) for node, weights in self._weighted)

    @classmethod
    def load(cls, path: Path, threads: int = 0) -> OnnxExplainable:
        """Return the model in a file, or the shipped model of that name."""
        return cls(*model_content(path), threads)

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides of the feature maps, from the first layer to the last; empty without any."""
        return tuple(self._features[0])

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 [n, k], for grey crops, uint8 [n, size, size]."""
        return self._classifier.logits(crops_nhw)

    def kernels(self) -> NDArray[np.float32]:
        """Return the first convolution's kernels, float32 [c, h, w]; [0, 0, 0] without any."""
        from onnx import numpy_helper

        tensors = {tensor.name: tensor for tensor in self._model.graph.initializer}
        for node, weights in self._weighted:
            if node.op_type == "Conv":
                return np.asarray(numpy_helper.to_array(tensors[weights[0]]))[:, 0]
        return np.zeros((0, 0, 0), np.float32)

    def feature_maps(self, crop_hw: NDArray[np.uint8]) -> dict[int, NDArray[np.float32]]:
        """Return each side's feature maps, float32 [c, side, side], of a crop as it is given."""
        features = self._features[0]
        if not features:
            return {}
        found = self._session.run(list(features.values()), **{INPUT_NAME: crop_hw[None, None]})
        return {side: maps[0] for side, maps in zip(features, found, strict=True)}

    def grad_cam(
        self, crops_nhw: NDArray[np.uint8], targets_n: NDArray[np.int64], side: int
    ) -> NDArray[np.float32]:
        """Return Grad-CAM before its rectification, float32 [n, side, side], in logits."""
        names = [view[side] for view in self._features]
        tail = self._tail(side)
        cams = []
        for crop, target in zip(crops_nhw, targets_n, strict=True):
            maps = self._session.run(names, **{INPUT_NAME: crop[None, None]})
            cam = np.zeros((side, side), np.float32)
            for view, own in enumerate(maps):
                # Adding a constant moves all cells, so the slope is the sum of the gradients over
                # the map; Grad-CAM takes their mean.
                weights = self._slopes(tail, names, maps, view)[:, target] / side**2
                summed = np.tensordot(weights, own[0], 1)
                cam += summed[:, ::-1] if view else summed  # the second view is mirrored
            cams.append(cam)
        return np.stack(cams) if cams else np.zeros((0, side, side), np.float32)

    def places(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return where on its crop each face lies that the network sees, float32 [n, 2, 3]."""
        if not self._grids:
            return unmoved(len(crops_nhw))
        grid = self._session.run(self._grids, **{INPUT_NAME: crops_nhw[:, None]})[0]
        # Three corners of the grid, which is affine, tell all of it.
        # The outermost samples are pixel centers, half a pixel inside -1 and 1.
        last = 1 - 1 / self.info.input_size
        corners = np.array([[-last, -last, 1], [last, -last, 1], [-last, last, 1]])
        found = np.stack([grid[:, 0, 0], grid[:, 0, -1], grid[:, -1, 0]], axis=2)
        places: NDArray[np.float32] = (found @ np.linalg.inv(corners.T)).astype(np.float32)
        return places

    def randomised(self, last: int, seed: int) -> OnnxExplainable:
        """Return this model with `random_weights` in its `last` layers."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._model)
        tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        for index in range(len(self._weighted) - last, len(self._weighted)):
            for number, name in enumerate(self._weighted[index][1]):
                trained = np.asarray(onnx.numpy_helper.to_array(tensors[name]))
                # Weight and bias get a stream of their own each.
                random = random_weights(trained, seed, 2 * index + number)
                tensors[name].CopyFrom(onnx.numpy_helper.from_array(random, name))
        return OnnxExplainable(bytes(model.SerializeToString()), self._name, self._threads)

    def _slopes(
        self, tail: Session, names: list[str], maps: list[NDArray[np.float32]], view: int
    ) -> NDArray[np.float32]:
        """Return each logit's slope along each map of a view, float32 [channels, k]."""
        channels = maps[view].shape[1]
        # 1.0 where all maps are 0, as after a dead activation.
        step = STEP * float(np.sqrt(np.square(maps[view]).mean()) or 1.0)
        # Copy c of the maps has channel c moved and no other, so that one batch gives all slopes.
        moves = step * np.eye(channels, dtype=np.float32)[:, :, None, None]
        size = self.info.input_size
        logits = []
        # Central differences: their error falls with the square of the step.
        for sign in (1, -1):
            inputs: dict[str, NDArray[Any]] = {
                name: np.repeat(own, channels, axis=0)
                for name, own in zip(names, maps, strict=True)
            }
            inputs[names[view]] = inputs[names[view]] + np.float32(sign) * moves
            # The second part may ask the pixels how many faces there are, and nothing else.
            if INPUT_NAME in tail.inputs:
                inputs[INPUT_NAME] = np.zeros((channels, 1, size, size), np.uint8)
            logits.append(tail.run([OUTPUT_NAME], **inputs)[0])
        slopes: NDArray[np.float32] = (logits[0] - logits[1]) / (2 * step)
        return slopes

    @property
    def _several(self) -> bool:
        return self.info.network.startswith(SEVERAL)

    @cached_property
    def _inferred(self) -> ModelProto:
        import onnx

        # Feature maps are found by the shapes of inner values, which a file need not contain.
        return onnx.shape_inference.infer_shapes(self._model)

    @cached_property
    def _features(self) -> list[dict[int, str]]:
        """Names of the last feature maps of each side: of the face, then of its mirror image."""
        if self._several:
            return [{}]
        graph = _without_alignment(self._inferred.graph)
        mirrored = _mirrored(graph)
        views = [_last_of_each_side(graph, lambda name: name not in mirrored)]
        if mirrored:
            views.append(_last_of_each_side(graph, lambda name: name in mirrored))
        return [view for view in views if view] or [{}]

    @property
    def _grids(self) -> list[str]:
        """Name of the places where an aligned face is sampled; of other models none."""
        nodes = () if self._several else self._model.graph.node
        return [node.input[1] for node in nodes if node.op_type == ALIGNMENT_NODE]

    @cached_property
    def _session(self) -> Session:
        """The graph with its feature maps and places as further outputs."""
        import onnx

        model = onnx.ModelProto()
        model.CopyFrom(self._inferred)
        known = {value.name: value for value in model.graph.value_info}
        features = [name for view in self._features for name in view.values()]
        # ONNX Runtime returns only values that the graph declares as outputs.
        for name in [*features, *self._grids]:
            model.graph.output.append(known[name])
        return Session(bytes(model.SerializeToString()), self._name, self._threads)

    def _tail(self, side: int) -> Session:
        """Return the graph's second part: from the feature maps of a side to the logits."""
        import onnx.utils

        cut = [view[side] for view in self._features]
        graph = self._inferred
        extractor = onnx.utils.Extractor(graph)
        part = extractor.extract_model([INPUT_NAME, *cut], [OUTPUT_NAME])
        return Session(bytes(part.SerializeToString()), self._name, self._threads)


def _without_alignment(graph: GraphProto) -> GraphProto:
    """Return the graph without the spatial transformer, which comes first."""
    at = max((i for i, node in enumerate(graph.node) if node.op_type == ALIGNMENT_NODE), default=-1)
    if at < 0:
        return graph
    rest = type(graph)()
    rest.CopyFrom(graph)
    # Nodes are in topological order: the alignment is all that precedes its sampling.
    del rest.node[: at + 1]
    return rest


def _weighted_nodes(graph: GraphProto) -> list[tuple[NodeProto, list[str]]]:
    """Return convolutions and linear layers in order, with the names of weight and bias.

    Layers that share their weights, as the two views of a mirroring model do, are named once.
    """
    stored = {tensor.name for tensor in graph.initializer}
    seen: set[str] = set()
    found = []
    for node in graph.node:
        weights = [name for name in node.input if name in stored]
        if node.op_type in WEIGHTED and weights and weights[0] not in seen:
            seen.update(weights)
            found.append((node, weights))
    return found


def _layer_name(node: NodeProto, weights: list[str]) -> str:
    return weights[0].removeprefix("model.").removesuffix(".weight") or node.name


def _mirrored(graph: GraphProto) -> set[str]:
    """Return the names of all values that were computed from the mirrored pixels."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    names: set[str] = set()
    for node in graph.node:
        # A flip is a Slice with a negative step, its fifth input. Nodes are in topological order,
        # so one pass finds all that depends on it.
        flips = (
            node.op_type == "Slice"
            and len(node.input) == 5
            and node.input[4] in constants
            and bool((numpy_helper.to_array(constants[node.input[4]]) < 0).any())
        )
        if flips or names.intersection(node.input):
            names.update(node.output)
    return names


def _last_of_each_side(graph: GraphProto, belongs: Any) -> dict[int, str]:
    """Return the name of the last feature maps of each side that convolutions computed."""
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    # The last map of a side may be that of an activation, but the side counts only if a
    # convolution computed one: pooling alone adds no features.
    sides: set[int] = set()
    last: dict[int, str] = {}
    for node in graph.node:
        shape = shapes.get(node.output[0], [])
        if len(shape) == 4 and shape[2] == shape[3] > 1 and belongs(node.output[0]):
            if node.op_type == "Conv":
                sides.add(shape[3])
            last[shape[3]] = node.output[0]
    return {side: last[side] for side in sorted(sides, reverse=True)}
