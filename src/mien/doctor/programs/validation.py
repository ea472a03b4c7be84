"""The validation data of a watched training, and what the network makes of them epoch by epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mien.doctor.programs.sample import Sample, digest
from mien.doctor.programs.trees import head, map_tensors, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mien.doctor.programs.link import Link

MAX_EVALUATED = 512
"""Examples evaluated in each epoch, at most; all that are kept are evaluated for the report."""
MIN_EVALUATED = 64


@dataclass(frozen=True, slots=True)
class Scorer:
    """How a batch is scored: the network's output, the way to the loss, the device."""

    predict: Callable[[Any], Tensor | None]
    link: Link | None
    device: torch.device


@dataclass(slots=True)
class EpochScore:
    """Sums over one epoch's validation: examples, loss times examples, right predictions."""

    n: int = 0
    loss: float = 0.0
    right: int = 0
    scored: bool = False


class Validation:
    """Collects the validation of each epoch."""

    def __init__(self) -> None:
        self.sample = Sample()
        self.epochs: list[EpochScore] = []
        self.digests: list[tuple[str, str]] = []
        self.count = 0

    def start_epoch(self) -> None:
        """Start the sums of the next epoch."""
        self.epochs.append(EpochScore())

    def add(self, scorer: Scorer, inputs: Any, targets: Any, *, full: bool) -> None:
        """Evaluate a batch; the first epoch's examples are kept.

        Raises:
            ValueError: inputs and targets do not belong together, or there is no output.
        """
        count, labelled = rows(inputs), rows(targets)
        if labelled and labelled % count:
            raise ValueError(f"{count:,} inputs, but {labelled:,} targets")
        # A sequence may have a target for each of its tokens, all in one row.
        each = max(1, labelled // count)
        score = self.epochs[-1]
        if score.n == 0 and len(self.digests) < 4:
            self.digests.append((digest(head(inputs, 64)), digest(head(targets, 64))))
        if len(self.epochs) == 1:
            self.sample.add(inputs, targets)
            self.count += count
        left = (MAX_EVALUATED if full else MIN_EVALUATED) - score.n
        if left <= 0:
            return
        part, labels = head(inputs, left), head(targets, left * each)
        output = scorer.predict(part)
        n = rows(part)
        if output is None:
            raise ValueError("the model's output holds no floating-point tensor")
        labels = map_tensors(labels, lambda t: t.to(scorer.device))
        if scorer.link is None:
            return
        score.loss += float(scorer.link.loss(output, labels)) * n
        score.n += n
        if output.ndim == 2 and isinstance(labels, torch.Tensor) and labels.shape == (n,):
            wide = output.shape[1] > 1
            guess = output.argmax(dim=1) if wide else (output[:, 0] > 0).long()
            score.right += int((guess == labels).sum())
            score.scored = True

    @property
    def varies(self) -> bool:
        """Whether the inputs changed between epochs while the targets stayed the same."""
        return any(
            a[1] == b[1] and a[0] != b[0]
            for a, b in zip(self.digests, self.digests[1:], strict=False)
        )
