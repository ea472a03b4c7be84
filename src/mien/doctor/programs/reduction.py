"""Whether a recorded loss is a mean over its targets or their sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mien.doctor.programs.trees import tensors

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording
    from mien.doctor.programs.split import Split

MAX_ROWS = 8
"""Examples that are given to the criterion once and twice."""


def loss_scale(watch: Recording, outputs: list[Tensor] | None, split: Split) -> float:
    """Return what a recorded loss is of the mean over targets: about 1, or their number in a batch.

    The criterion is given some kept examples once and then twice: a mean stays the same, a sum
    doubles. So functions of the loop's own are known as well as `reduction='sum'`.

    Args:
        watch: of the loop.
        outputs: of the kept training examples, in batches.
        split: the same as rows.
    """
    if watch.link is None or not outputs or not is_summed(watch, outputs[0]):
        return 1.0
    size = (
        max(1, sorted(watch.batch_sizes)[len(watch.batch_sizes) // 2]) if watch.batch_sizes else 1
    )
    # Positions that the loss ignores are not in its sum.
    total = 0.0 if split.counts_k is None else float(split.counts_k.sum())
    each = split.each * (split.targets.shape[1] if _is_each(watch) else 1)
    if total:
        each = total / max(1, sum(len(t) for t in _first(watch, len(outputs))))
    return max(1.0, size * each)


def _first(watch: Recording, count: int) -> list[Tensor]:
    found = (next(tensors(x), None) for x in watch.train.inputs[:count])
    return [x for x in found if x is not None and x.ndim]


def _is_each(watch: Recording) -> bool:
    """Return whether each value of a row of targets is a term of the sum: not one-hot classes."""
    name = "" if watch.link is None else watch.link.name.lower().replace("_", "")
    return "bce" in name or "binary" in name or not any(part in name for part in ("cross", "nll"))


def is_summed(watch: Recording, output: Tensor) -> bool:
    """Return whether the loss of examples that come twice is twice their loss."""
    link = watch.link
    targets = next(tensors(watch.train.targets[0]), None)
    if link is None or targets is None or output.ndim == 0 or targets.ndim == 0:
        return False
    n = len(_first(watch, 1)[0]) if _first(watch, 1) else 0
    rows = min(n, MAX_ROWS)
    if not rows or len(output) % n or len(targets) % n:
        return False
    parts = [x[: len(x) // n * rows] for x in (output.to(watch.device), targets.to(watch.device))]
    try:
        with torch.no_grad():
            once = float(link.loss(parts[0], parts[1]))
            twice = float(link.loss(*(torch.cat([x, x]) for x in parts)))
    except Exception:  # noqa: BLE001 - a criterion of the user's may raise anything
        return False
    return once > 0 and abs(twice / once - 2) < 1e-3
