"""Several optimisers of one loop: which parameters each holds, and whether they share a loss."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from mien.doctor.programs.inspection import held_by
from mien.doctor.programs.losses import Mixed

if TYPE_CHECKING:
    from mien.doctor.programs.recording import Recording

MIN_SEPARATE = 0.5
"""Fraction of the measured steps in which optimisers follow different losses."""


def held_twice(watch: Recording) -> tuple[str, ...]:
    """Return the names of the parameters that several optimisers hold."""
    # In each optimiser once.
    held = Counter(number for optimizer in watch.optimizers for number in held_by(optimizer))
    return tuple(name for name, p in watch.bare.named_parameters() if held[id(p)] > 1)


def owners(watch: Recording) -> dict[str, int]:
    """Return the number of the optimiser that holds each parameter, by name; -1 if none does."""
    # A sequence of optimisers for parts of one network still makes it one network.
    if not has_separate_losses(watch):
        return {}
    places = {
        number: place
        for place, optimizer in enumerate(watch.optimizers)
        for number in held_by(optimizer)
    }
    return {name: places.get(id(p), -1) for name, p in watch.bare.named_parameters()}


def has_separate_losses(watch: Recording) -> bool:
    """Return whether several optimisers follow different losses, as in adversarial training.

    In the measured steps one of them took no step, or there was a backward pass between theirs.
    """
    seen = [row.separate for row in watch.rows]
    return bool(seen) and sum(seen) >= MIN_SEPARATE * len(seen)


def mixed_of(watch: Recording) -> Mixed | None:
    """Return how often a step used the gradients of two losses; None where it never did."""
    separate = [row for row in watch.rows if row.separate]
    found = [row.mixed for row in separate if row.mixed is not None]
    if not found:
        return None
    names = tuple(dict.fromkeys(name for name, _ in found))
    middle = float(np.median([cosine for _, cosine in found]))
    return Mixed(len(separate), len(found) / len(separate), middle, names)
