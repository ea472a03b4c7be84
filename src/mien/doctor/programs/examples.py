"""Kept examples compared with each other: duplicates, and targets that are the inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.doctor.programs.sample import MIN_LEAKED_FEATURES
from mien.doctor.programs.trees import is_tokens, tensors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from mien.doctor.programs.sample import Sample

MIN_OTHERS = 4
"""Tokens beside the most common one below which equal sequences are coincidence."""


def keys_of(batches: list[Any]) -> list[bytes | None] | None:
    """Return each example's inputs as bytes, to find equal ones.

    Token ids count in their order, without the zeros that pad a batch to one length.

    Returns:
        None for an example that is constant, such as a blank image: those are equal without being
        duplicates. None instead of the list if the inputs have no such form, or too few features.
    """
    keys: list[bytes | None] = []
    for batch in batches:
        first = next((t for t in tensors(batch) if t.ndim), None)
        if first is None or first.is_complex() or first.is_sparse:
            return None
        flat = first.reshape(len(first), -1).cpu()
        if flat.shape[1] < MIN_LEAKED_FEATURES:
            return None
        tokens = is_tokens(first)
        for row in flat.double().numpy():
            used = row
            if tokens:
                last = row.nonzero()[0]
                used = row[: last[-1] + 1] if len(last) else row[:0]
            short = len(used) < MIN_LEAKED_FEATURES or (tokens and _others(used) < MIN_OTHERS)
            keys.append(None if short or used.std() == 0 else used.tobytes())
    return keys


def distinct_rows(*parts_nd: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the place of the first of each set of equal rows, in their order.

    Args:
        parts_nd: columns of the same n rows, such as inputs and targets.
    """
    first: dict[bytes, int] = {}
    # -0.0 and 0.0 are equal, and have other bytes.
    for place, row in enumerate(np.concatenate(parts_nd, axis=1) + 0.0):
        first.setdefault(row.tobytes(), place)
    return np.array(list(first.values()), np.intp)


def _others(tokens: NDArray[np.float64]) -> int:
    """Return how many tokens are not the most common one."""
    return len(tokens) - int(np.unique(tokens, return_counts=True)[1].max())


def _pairs(sample: Sample) -> Iterator[tuple[Tensor | None, Tensor | None]]:
    for inputs, targets in zip(sample.inputs, sample.targets, strict=True):
        yield next(tensors(inputs), None), next(tensors(targets), None)


def class_labels(sample: Sample, count: int) -> NDArray[np.float64] | None:
    """Return the label of each kept example, of one-hot targets their place; None for others.

    Args:
        sample: of a split.
        count: examples that it must have.
    """
    found = [wanted for _, wanted in _pairs(sample)]
    known = [t.detach().cpu().double() for t in found if t is not None and t.ndim in (1, 2)]
    if len(known) < len(found) or not known:
        return None
    flat = [t.argmax(dim=1) if t.ndim == 2 and t.shape[1] > 1 else t.reshape(-1) for t in known]
    labels: NDArray[np.float64] = torch.cat([t.double() for t in flat]).numpy()
    return labels if len(labels) == count else None


def targets_are_inputs(sample: Sample) -> bool:
    """Return whether every kept example's targets equal its inputs, as an autoencoder's do."""
    return bool(sample.inputs) and all(_equal(*pair) for pair in _pairs(sample))


def _equal(inputs: Tensor | None, targets: Tensor | None) -> bool:
    """Return whether two tensors hold the same values in the same order, whatever their shapes."""
    if inputs is None or targets is None:
        return False
    first, second = (t.detach().reshape(-1).double().cpu() for t in (inputs, targets))
    return torch.equal(first, second)


def targets_are_tokens(sample: Sample) -> bool:
    """Return whether inputs are token ids, so that equal targets name the tokens themselves."""
    first = next(tensors(sample.inputs), None)
    return first is not None and is_tokens(first)


def nonfinite_targets(sample: Sample) -> float:
    """Return the fraction of kept examples with a target that is NaN or infinite."""
    bad = total = 0
    for _, targets in _pairs(sample):
        if targets is not None and targets.ndim and targets.is_floating_point():
            finite = torch.isfinite(targets.detach()).reshape(len(targets), -1).all(dim=1)
            bad, total = bad + int((~finite).sum()), total + len(targets)
    return bad / total if total else 0.0
