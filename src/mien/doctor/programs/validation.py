"""The validation data of a watched training, and what the network makes of them epoch by epoch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mien.doctor.programs.sample import Sample, digest
from mien.doctor.programs.trees import head, map_tensors, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from mien.doctor.programs.link import Link

MAX_EVALUATED, MIN_EVALUATED = 512, 64
"""Examples evaluated in an epoch, at most and at least; all that are kept are evaluated for the
report."""


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

    def add(self, link: Link, output: Tensor, labels: Any, n: int) -> None:
        """Add n examples."""
        self.loss += float(link.loss(output, labels)) * n
        self.n += n
        if output.ndim == 2 and isinstance(labels, torch.Tensor) and labels.shape == (n,):
            wide = output.shape[1] > 1
            guess = output.argmax(dim=1) if wide else (output[:, 0] > 0).long()
            self.right += int((guess == labels).sum())
            self.scored = True


class Validation:
    """Collects the validation of each epoch."""

    def __init__(self) -> None:
        self.sample = Sample()
        self.epochs: list[EpochScore] = []
        self.digests: list[tuple[str, str]] = []
        self.count = 0
        # Seconds of CPU time that the last evaluation took for an example; None before the first.
        self.cost: float | None = None

    def start_epoch(self) -> None:
        """Start the sums of the next epoch."""
        self.epochs.append(EpochScore())

    def add(self, scorer: Scorer, inputs: Any, targets: Any, *, seconds: float) -> None:
        """Evaluate a batch; the first epoch's examples are kept.

        Args:
            scorer: how the batch is scored.
            inputs: of the batch.
            targets: of the batch.
            seconds: CPU time it may take; MIN_EVALUATED examples of an epoch are evaluated anyway.

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
        known, started = self.cost is not None, time.thread_time()
        n = self._affordable(count, score.n, seconds)
        if n <= 0:
            return
        output = self._predict(scorer, inputs, n)
        if not known:
            # The first evaluation tells what an example costs. If all can be afforded, these are
            # predicted again with them: the loss of two parts need not be that of the whole.
            more = self._affordable(count, score.n, seconds - (time.thread_time() - started))
            if more > n:
                n, output = more, self._predict(scorer, inputs, more)
        labels = map_tensors(head(targets, n * each), lambda t: t.to(scorer.device))
        if scorer.link is not None:
            score.add(scorer.link, output, labels, n)

    def _affordable(self, count: int, evaluated: int, seconds: float) -> int:
        """Return how many of a batch are evaluated, where some of the epoch are already."""
        most = min(count, MAX_EVALUATED - evaluated)
        if self.cost is not None and self.cost * most <= seconds:
            return most
        return min(count, MIN_EVALUATED - evaluated)

    def _predict(self, scorer: Scorer, inputs: Any, n: int) -> Tensor:
        """Return the output for the first n inputs, and note what an example costs."""
        started = time.thread_time()
        output = scorer.predict(head(inputs, n))
        if output is None:
            raise ValueError("the model's output holds no floating-point tensor")
        self.cost = (time.thread_time() - started) / n
        return output

    @property
    def varies(self) -> bool:
        """Whether the inputs changed between epochs while the targets stayed the same."""
        return any(
            a[1] == b[1] and a[0] != b[0]
            for a, b in zip(self.digests, self.digests[1:], strict=False)
        )
