"""Fine-tuning: initial weights from an earlier training (`fit.init_from`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.errors import ConfigError, ModelFileError
from mien.model.fp16 import GRAPH, to_fp32
from mien.model.info import ModelInfo
from mien.model.resolve import resolve
from mien.train.networks.align import ALIGNMENT
from mien.train.run.folder import load_scorer, open_run

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The weights of a trained network.

    Attributes:
        weights: tensors by their names in the network.
        labels: labels of the last layer's rows; empty if unknown.
    """

    weights: dict[str, Tensor]
    labels: tuple[str, ...]


def load_pretrained(model: Model, recipe: Recipe) -> bool:
    """Load the weights that `fit.init_from` names into the model, if it names any.

    Of an ensemble the first network that fits is taken. If they were trained for other labels, the
    rows of the last layer are copied for the labels that both have, and keep their random weights
    for the others.

    Returns:
        Whether the weights include those of `network.align`, which then needs no training.

    Raises:
        ConfigError: the weights are those of a different network.
        RunFolderError: the run has no finished epoch.
        ModelFileError: there is no such model, the file is damaged, or its weights are int8.
    """
    if not recipe.fit.init_from:
        return False
    source = read_pretrained(recipe.fit.init_from)
    own = model.state_dict()
    for member in _members(source):
        weights = _weights_for(own, member, recipe.learnt_labels)
        if weights is not None:
            model.load_state_dict(own | weights)
            return any(name.startswith(ALIGNMENT) for name in weights)
    raise ConfigError(
        f"fit.init_from: the network of {recipe.fit.init_from} is not this recipe's",
        hint="take its recipe's [network] and crop size, or leave fit.init_from out",
    )


def _weights_for(
    own: dict[str, Tensor], source: Pretrained, labels: tuple[str, ...]
) -> dict[str, Tensor] | None:
    """Return the source's weights for a network that learns `labels`; None if it is another."""
    weights = {**source.weights}
    # Known labels keep their rows, so that fine-tuning starts from what the model can do.
    if source.labels != labels:
        weights |= _matched_rows(own, source, labels)
    aligns = any(name.startswith(ALIGNMENT) for name in weights)
    optional = {
        name for name in own if _is_optional(name) or (not aligns and name.startswith(ALIGNMENT))
    } - weights.keys()
    # Compared as a whole: load_state_dict would list each tensor in torch's words.
    shapes = {name: value.shape for name, value in weights.items()}
    needed = {name: value.shape for name, value in own.items() if name not in optional}
    return weights if shapes == needed else None


def _members(source: Pretrained) -> list[Pretrained]:
    """Return the networks of an exported ensemble, in order; a single network as it is."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, value in source.weights.items():
        ensemble, _, rest = name.partition(".")
        if ensemble != "members":
            return [source]
        number, _, own_name = rest.partition(".")
        found.setdefault(number, {})[own_name] = value
    return [Pretrained(found[number], source.labels) for number in sorted(found, key=int)]


def _matched_rows(
    own: dict[str, Tensor], source: Pretrained, labels: tuple[str, ...]
) -> dict[str, Tensor]:
    """Return the last layer's tensors for `labels`, with the source's rows where it has them."""
    *_, last = (name for name in own if own[name].ndim == 2)
    head = last.rpartition(".")[0] + "."
    matched = {}
    for name in [name for name in own if name.startswith(head)]:
        theirs, rows = source.weights.get(name), own[name].clone()
        if theirs is None or theirs.shape[1:] != rows.shape[1:]:
            continue  # a different network: the caller compares all shapes and raises
        matched[name] = rows
        for row, label in enumerate(labels):
            if label in source.labels:
                rows[row] = theirs[source.labels.index(label)]
    return matched


def read_pretrained(source: str) -> Pretrained:
    """Return the weights of a run folder, a model file or a shipped model.

    Raises:
        RunFolderError, ModelFileError: as `load_pretrained` does.
    """
    try:
        found = resolve(source)
    except ModelFileError as error:
        raise ModelFileError(f"fit.init_from: {error.message}", hint=error.hint) from None
    if not found.is_run:
        return _read_model_file(found.read(), found.name)
    path = Path(source)
    return Pretrained(load_scorer(path).model.state_dict(), open_run(path).recipe.learnt_labels)


def _read_model_file(content: bytes, name: str) -> Pretrained:
    import onnx  # imported here: trainings from random weights need not wait for it

    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own exception, which has no public name
        raise ModelFileError(
            f"{name} is not an ONNX file, or is damaged", hint="copy or export it again"
        ) from error
    info = ModelInfo.from_metadata({p.key: p.value for p in graph.metadata_props}, path=name)
    if info.precision != "float32":
        raise ModelFileError(
            f"fit.init_from: the weights of {name} are {info.precision}, not float32",
            hint="fine-tune from the model it was quantized from: "
            + str(info.quantized.get("from", "its float32 form")),
        )
    weights = _weights(to_fp32(graph))
    # The exporter names a convolution's bias so once it has folded a normalisation into it.
    if any(name.endswith("weight_bias") for name in weights):
        raise ModelFileError(
            f"fit.init_from: {name} was exported with network.mirror off, which folds batch "
            "normalisation into the convolutions; it cannot be trained further",
            hint="fine-tune from the run folder that it was exported from",
        )
    return Pretrained(weights, info.trained_labels)


def _weights(model: ModelProto) -> dict[str, Tensor]:
    """Return the weights in an exported graph, by their names in the network."""
    from onnx import numpy_helper

    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    named = {name: name for name in tensors}
    # The exporter keeps only one of several equal tensors, such as the biases of two
    # normalisations that are added; a normalisation's inputs tell which one it uses.
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            module = node.input[4].rpartition(".")[0]
            named |= {f"{module}.weight": node.input[1], f"{module}.bias": node.input[2]}
    return {
        name.removeprefix(GRAPH): torch.from_numpy(tensors[kept].copy())
        for name, kept in named.items()
        if name.startswith(GRAPH)
    }


def _is_optional(name: str) -> bool:
    """Whether a graph may lack the tensor: unused in evaluation, or a constant of the graph."""
    return name.endswith(".num_batches_tracked") or name.startswith("normalise.")
