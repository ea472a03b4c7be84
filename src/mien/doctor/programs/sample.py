"""Examples kept from a training loop, for what can only be measured afterwards."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor

from mien.doctor.programs.trees import head, rows, tensors

MAX_ROWS = 1500
"""Examples kept of training, and of validation."""
MAX_BYTES = 64 * 2**20
MIN_LEAKED_FEATURES = 8
"""Features from which equal examples are duplicates, not coincidence."""
MAX_LABELS = 4096
"""Training steps whose targets are kept, to judge their order."""
MAX_TARGET_VALUES = 4096


class Sample:
    """The first examples of a split, in batches as the loop had them."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.targets: list[Any] = []
        self.count = 0
        self.bytes = 0
        self.is_closed = False

    @property
    def is_full(self) -> bool:
        """Whether no further example is kept."""
        return self.is_closed or self.count >= MAX_ROWS or self.bytes >= MAX_BYTES

    def add(self, inputs: Any, targets: Any) -> None:
        """Keep a copy of a batch, or of its first examples."""
        n = rows(inputs)
        if not n or self.is_full:
            return
        # Bytes of one example, so that large images fill the memory no further than small ones.
        size = sum(t.numel() * t.element_size() for t in tensors(inputs)) / n
        # A graph's nodes belong together: a part of a batch is kept only if nothing else is.
        if self.count and self.count + n > MAX_ROWS:
            self.is_closed = True
            return
        keep = min(n, MAX_ROWS - self.count, max(1, int((MAX_BYTES - self.bytes) / max(size, 1))))
        # Of the first examples, not at random: which ones are kept must not take random numbers
        # from the loop.
        self.inputs.append(head(inputs, keep))
        # A sequence may have a target for each of its tokens, all in one dimension.
        self.targets.append(head(targets, keep * max(1, rows(targets) // n)))
        self.count += keep
        self.bytes += int(keep * size)


class TargetOrder:
    """The targets of the first steps, in their order."""

    def __init__(self) -> None:
        self.batches: list[Tensor] = []

    def add(self, targets: Any) -> None:
        """Keep a copy of a step's targets, or of the first of them."""
        if len(self.batches) >= MAX_LABELS:
            return
        first = targets if isinstance(targets, Tensor) else next(tensors(targets), None)
        if first is None:
            return
        if first.ndim == 1 and first.shape[0] <= MAX_TARGET_VALUES and not first.requires_grad:
            self.batches.append(first.clone())  # the usual form; it is called in many steps
        else:
            self.batches.append(first.detach().flatten()[:MAX_TARGET_VALUES].clone())

    def epoch_length(self) -> int:
        """Return the steps from one occurrence of the first batches to the next; 0 if none."""
        keys = [digest(t) for t in self.batches]
        # Two batches must match, since small batches of few classes repeat by chance.
        for step in range(2, len(keys) - 2):
            span = min(step, len(keys) - step)
            if keys[:span] == keys[step : step + span] and len(set(keys[:span])) > 1:
                return step
        return 0


def digest(tree: Any) -> str:
    """Return a digest of a batch's values."""
    total = hashlib.sha256()
    for tensor in tensors(tree):
        values = tensor.detach().cpu().contiguous()
        # NumPy has no bfloat16.
        if values.dtype == torch.bfloat16:
            values = values.float()
        total.update(values.numpy().tobytes())
    return total.hexdigest()[:16]
