"""Training examples that occur with several labels, and which class was copied into another."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch

from mien.doctor.programs.examples import keys_of
from mien.doctor.programs.trees import tensors

if TYPE_CHECKING:
    from mien.doctor.programs.task import Task

COPIED = 0.9
"""Fraction of a class's examples that occur as another class where the class was copied into it."""
OWN = 0.7
"""Largest fraction of the other class's examples that are such copies."""
MIN_COPIES = 10


def contradictory(
    inputs: list[Any], batches: list[Any], task: Task
) -> tuple[float, tuple[int, int] | None]:
    """Return how many distinct training inputs occur with several labels, and which class twice.

    Args:
        inputs: batches of inputs.
        batches: their targets.
        task: what the targets are.

    Returns:
        The fraction, 0 to 1, and (a, b) where nearly all examples of class a come a second time
        as class b, which has others of its own; None where no class does.
    """
    labels = [next((t for t in tensors(batch)), None) for batch in batches]
    if task.kind not in ("classification", "binary") or any(
        t is None or t.ndim != 1 for t in labels
    ):
        return 0.0, None
    keys = keys_of(inputs)
    if keys is None:
        return 0.0, None
    joined = torch.cat([t.cpu().double() for t in labels if t is not None]).tolist()
    found: dict[bytes, set[float]] = {}
    for key, label in zip(keys, joined, strict=True):
        if key is not None:
            found.setdefault(key, set()).add(label)
    several = [known for known in found.values() if len(known) > 1]
    if len(several) < 2:
        return 0.0, None
    return len(several) / len(found), _copied(list(found.values()), several)


def _copied(all_labels: list[set[float]], several: list[set[float]]) -> tuple[int, int] | None:
    """Return the class that was copied, and the class that its copies are labelled as."""
    counts = Counter(label for known in all_labels for label in known)
    pairs = Counter(pair for known in several for pair in permutations(known, 2))
    for (a, b), n in pairs.most_common():
        if n >= MIN_COPIES and n >= COPIED * counts[a] and n <= OWN * counts[b]:
            return int(a), int(b)
    return None
