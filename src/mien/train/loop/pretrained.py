"""Weights to begin with: those of a training that went before, instead of random ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.errors import ConfigError, ModelFileError
from mien.model.fp16 import GRAPH, to_fp32
from mien.model.info import ModelInfo
from mien.model.resolve import model_content, resolve
from mien.train.networks.align import ALIGNMENT
from mien.train.run.folder import load_scorer, open_run

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import Tensor

    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Learnt:
    """What an earlier training left.

    Attributes:
        weights: by their names in the network.
        labels: of the last layer's rows; empty where they are not known.
    """

    weights: dict[str, Tensor]
    labels: tuple[str, ...]


def begin_from(model: Model, recipe: Recipe) -> bool:
    """Give the model the weights of what `fit.start` names, where it names something.

    Where that learnt other labels, the last layer, which answers, takes the rows of those that
    both learn, and keeps its random weights for the others. Returns whether `network.align`
    is among the weights; else it has yet to learn.

    Raises:
        ConfigError: its network is another one.
        RunFolderError: a folder that is no run folder, or a run that finished no epoch.
        ModelFileError: there is no such model; it is damaged, or its weights are rounded to int8.
    """
    if not recipe.fit.start:
        return False
    learnt = learnt_before(recipe.fit.start)
    own = model.state_dict()
    weights = {**learnt.weights}
    if learnt.labels != recipe.learnt_labels:
        *_, last = (name for name in own if own[name].ndim == 2)
        answering = last.rpartition(".")[0] + "."
        for name in [name for name in own if name.startswith(answering)]:
            theirs, rows = weights.get(name), own[name].clone()
            if theirs is None or theirs.shape[1:] != rows.shape[1:]:
                continue  # another network: said below
            weights[name] = rows
            for row, label in enumerate(recipe.learnt_labels):
                if label in learnt.labels:
                    rows[row] = theirs[learnt.labels.index(label)]
    aligns = any(name.startswith(ALIGNMENT) for name in weights)
    spared = {
        name for name in own if _is_spared(name) or (not aligns and name.startswith(ALIGNMENT))
    } - weights.keys()
    fits = {name: value.shape for name, value in weights.items()}
    if fits != {name: value.shape for name, value in own.items() if name not in spared}:
        raise ConfigError(
            f"fit.start: the network of {recipe.fit.start} is not this recipe's",
            hint="take its recipe's [network] and size of crops, or leave fit.start out",
        )
    model.load_state_dict(own | weights)
    return aligns


def learnt_before(start: str) -> Learnt:
    """Return what a run folder, a model file or a shipped model has learnt.

    Raises:
        RunFolderError, ModelFileError: as `begin_from` does.
    """
    path = Path(start)
    try:
        source = resolve(start)
    except ModelFileError as error:
        raise ModelFileError(f"fit.start: {error.message}", hint=error.hint) from error
    if not source.is_run:
        return _learnt_by_model(path)
    return Learnt(load_scorer(path).model.state_dict(), open_run(path).recipe.learnt_labels)


def _learnt_by_model(path: Path) -> Learnt:
    import onnx  # here, for trainings that begin anew shall not wait for it

    content, name = model_content(path)
    try:
        graph = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, which has no public name
        raise ModelFileError(
            f"{name} is not an ONNX file, or is damaged", hint="copy or export it again"
        ) from error
    info = ModelInfo.from_metadata({p.key: p.value for p in graph.metadata_props}, path=name)
    if info.precision != "float32":
        raise ModelFileError(
            f"fit.start: the weights of {name} are rounded to {info.precision}",
            hint="begin with the model that it was made of: "
            + str(info.quantised.get("from", "its float32 form")),
        )
    weights = _weights(to_fp32(graph))
    if any(name.endswith("weight_bias") for name in weights):  # what the exporter calls them then
        raise ModelFileError(
            f"fit.start: in {name} normalisations are part of convolutions, as they are exported "
            "where network.mirror is off; nobody can train that further",
            hint="begin with the run folder that it was exported from",
        )
    return Learnt(weights, info.learnt)


def _weights(model: ModelProto) -> dict[str, Tensor]:
    """Return the weights in an exported graph, by their names in the network."""
    from onnx import numpy_helper

    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    named = {name: name for name in tensors}
    # The exporter keeps one of several equal tensors, such as the offsets of two normalisations
    # that are added; what a normalisation takes tells which.
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            module = node.input[4].rpartition(".")[0]
            named |= {f"{module}.weight": node.input[1], f"{module}.bias": node.input[2]}
    return {
        name.removeprefix(GRAPH): torch.from_numpy(tensors[kept].copy())
        for name, kept in named.items()
        if name.startswith(GRAPH)
    }


def _is_spared(name: str) -> bool:
    """Whether a graph may lack it: it decides nothing, or is a number that stands in the graph."""
    return name.endswith(".num_batches_tracked") or name.startswith("normalise.")
