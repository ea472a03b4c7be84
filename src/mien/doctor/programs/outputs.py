"""Statistics of what reaches the loss."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mien.doctor.programs.program import OutputStatistics

if TYPE_CHECKING:
    from mien.doctor.programs.link import Link


MAX_POSITIONS = 4096
"""Rows of a batch whose sums are taken, evenly spaced: a segmentation has one for each pixel."""


class OutputSummary:
    """Extremes over the measured steps of predictions and targets, as the criterion got them."""

    def __init__(self) -> None:
        self.units = 0
        self.low, self.high = math.inf, -math.inf
        self.sum_error = self.log_sum_error = 0.0
        self.target_low, self.target_high = math.inf, -math.inf
        self.integers = self.one_hot = self.binary = True
        self.half = False
        self.target_sum_error = 0.0
        self.shape: tuple[int, ...] = ()
        self.target_shape: tuple[int, ...] = ()
        self.float_targets = False
        self.batches = 0

    @torch.no_grad()
    def add(self, link: Link, output: Tensor, targets: Any) -> None:
        """Add one batch."""
        predictions = link.transform(output)
        wanted = link.convert(targets)
        # float16 alone: bfloat16 has float32's range, and gradients do not underflow in it.
        self.half = self.half or predictions.dtype == torch.float16
        values = predictions.float()
        self.low, self.high = (
            min(self.low, float(values.min())),
            max(self.high, float(values.max())),
        )
        flat = _rows(values, wanted)
        self.units, self.shape = flat.shape[1], tuple(predictions.shape)
        self.sum_error = max(self.sum_error, float((flat.sum(dim=1) - 1).abs().max()))
        self.log_sum_error = max(self.log_sum_error, float(flat.logsumexp(dim=1).abs().max()))
        self.batches += 1
        if isinstance(wanted, Tensor) and wanted.numel():
            self._add_targets(wanted)

    def _add_targets(self, wanted: Tensor) -> None:
        truth = wanted.float()
        self.target_shape, self.float_targets = tuple(wanted.shape), wanted.is_floating_point()
        self.target_low = min(self.target_low, float(truth.min()))
        self.target_high = max(self.target_high, float(truth.max()))
        self.integers = self.integers and bool((truth == truth.round()).all())
        self.binary = self.binary and bool(((truth == 0) | (truth == 1)).all())
        if truth.ndim == 2 and self.float_targets:
            error = float((truth.sum(dim=1) - 1).abs().max())
            self.target_sum_error = max(self.target_sum_error, error)
        self.one_hot = (
            self.one_hot
            and truth.ndim == 2
            and truth.shape[1] > 1
            and self.binary
            and bool((truth.sum(dim=1) == 1).all())
        )

    def statistics(
        self, last_activation: str, ends: tuple[float, ...] = ()
    ) -> OutputStatistics | None:
        """Return the statistics; None if no batch was added."""
        if not self.batches:
            return None
        return OutputStatistics(self.units, self.low, self.high, self.sum_error,
                                self.log_sum_error, last_activation, self.half,
                                self.target_sum_error, ends)  # fmt: skip


def _rows(values: Tensor, wanted: Any) -> Tensor:
    """Return predictions as rows of classes or labels, [m, k]; at most about MAX_POSITIONS."""
    if values.ndim < 2:
        return values.reshape(-1, 1)
    if values.ndim > 2 and isinstance(wanted, Tensor):
        # A class index for each position: the classes are the second dimension, as for
        # CrossEntropyLoss. Of images with a channel for each label they are as well.
        classes = not wanted.is_floating_point() and wanted.ndim == values.ndim - 1
        if classes or (values.ndim > 3 and wanted.shape == values.shape):
            values = values.movedim(1, -1)
    every = max(1, values.numel() // values.shape[-1] // MAX_POSITIONS)
    return values.reshape(-1, values.shape[-1])[::every]
