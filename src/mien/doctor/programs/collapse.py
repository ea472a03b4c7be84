"""Are a trained network's outputs the same for every example, though the inputs differ?

Values are compared with the deviation of their targets, embeddings with their own length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mien.doctor.programs.examples import targets_are_inputs
from mien.doctor.programs.measurements import Collapse
from mien.doctor.programs.trees import tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.task import Task

MIN_ROWS, MAX_ROWS = 32, 512
MIN_DIMENSIONS = 8
"""Outputs from which those without targets are an embedding. Fewer may be a physical field, whose
mean may be far larger than its variation."""
LOGITS = "withlogits"


def collapse_of(watch: Recording, task: Task, outputs: list[Tensor] | None) -> Collapse | None:
    """Return how much outputs vary over the kept training examples; None if not judged.

    Not judged: classes, few examples, equal inputs, targets that do not vary, values that are
    neither predicted nor an embedding.

    Args:
        watch: of the loop.
        task: that it learns.
        outputs: of the kept training examples, in batches.
    """
    if not outputs or task.kind not in ("regression", "other"):
        return None
    x = _joined([next(tensors(batch), None) for batch in watch.train.inputs])
    y = _joined(list(outputs))
    if x is None or y is None or not _may_differ(x, y):
        return None
    targets = _joined([next(tensors(batch), None) for batch in watch.train.targets])
    if targets is None and not watch.order.batches:
        return _embeddings(x, y) if outputs[0].ndim == 2 else None
    if targets is None or targets.shape != y.shape or not _are_values(watch, task):
        return None
    return _values(watch, task, y, targets)


def _may_differ(x: Tensor, y: Tensor) -> bool:
    """Return whether there are enough finite outputs, of inputs that differ."""
    if not MIN_ROWS <= len(x) == len(y):
        return False
    return bool(torch.isfinite(y).all()) and bool((x != x[:1]).any())


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """Return the first rows of all batches, float64 [n, d]; None if their forms differ."""
    found = []
    for part in parts:
        if part is None or part.ndim == 0 or part.is_complex():
            return None
        found.append(part.detach().reshape(len(part), -1).double().cpu())
        if sum(map(len, found)) >= MAX_ROWS:
            break
    if not found or len({part.shape[1] for part in found}) > 1:
        return None
    return torch.cat(found)[:MAX_ROWS]


def _are_values(watch: Recording, task: Task) -> bool:
    """Return whether outputs have the scale of the targets."""
    return task.kind == "regression" or targets_are_inputs(watch.train)


def _values(watch: Recording, task: Task, y: Tensor, targets: Tensor) -> Collapse | None:
    spread = float((targets - targets.mean(dim=0)).square().mean().sqrt())
    if not spread > 0:
        return None
    name = watch.link.name.lower().replace("_", "") if watch.link is not None else ""
    if LOGITS in name:
        y = y.sigmoid()
    own = float((y - y.mean(dim=0)).square().mean().sqrt())
    # Copying its inputs an autoencoder can always do better than a constant.
    can_learn = targets_are_inputs(watch.train)
    return Collapse(len(y), own / spread, task.scores.get("baseline"), can_learn, "targets")


def _embeddings(x: Tensor, y: Tensor) -> Collapse | None:
    if y.shape[1] < MIN_DIMENSIONS:
        return None
    # Reconstructions have the inputs' form, and vary as little as these.
    scale = _spread(x) if x.shape == y.shape else 1.0
    return Collapse(len(y), _spread(y) / max(scale, 1e-12), None, can_learn=True, beside="length")


def _spread(values: Tensor) -> float:
    """Return the deviation of the rows, each scaled to length 1, over all dimensions.

    Chen and He 2021 (arXiv:2011.10566) watch it: near 1 for rows in all directions.
    """
    unit = torch.nn.functional.normalize(values, dim=1)
    return float((unit - unit.mean(dim=0)).square().sum(dim=1).mean().sqrt())
