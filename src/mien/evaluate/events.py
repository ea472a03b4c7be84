"""Event-based agreement: whole segments of two coders, matched within a tolerance.

As for sound events (Mesaros, Heittola and Virtanen 2016, Applied Sciences 6, 162), but symmetrical:
start and end must both lie within the tolerance, whatever the length of the event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.codings.coding import Segment, join_runs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.codings.coding import Tier
    from mien.codings.units import Unit


def count_events(
    unit: Unit,
    span_s: tuple[float, float],
    labels: Sequence[str],
    pair: tuple[int, int],
    tolerance_s: float,
    cluster_of: Callable[[float], int],
) -> NDArray[np.float64]:
    """Return events of the first coder, of the second, and matched ones, float64 [clusters, k, 3].

    Args:
        unit: what both coded.
        span_s: start and end of what is compared; events are cut there.
        labels: k labels.
        pair: indices of the coders.
        tolerance_s: seconds by which starts, and ends, may differ.
        cluster_of: the cluster of an event by its start in seconds.
    """
    counted: dict[tuple[int, int, int], int] = {}
    for number, label in enumerate(labels):
        first, second = (_events(unit.tiers[coder], label, span_s) for coder in pair)
        matched = match(first, second, tolerance_s)
        for kind, some in enumerate((first, second, matched)):
            for event in some:
                key = (cluster_of(event.start_s), number, kind)
                counted[key] = counted.get(key, 0) + 1
    clusters = cluster_of(span_s[1]) + 1
    table = np.zeros((clusters, len(labels), 3))
    for key, count in counted.items():
        table[key] = count
    return table


def match(first: Sequence[Segment], second: Sequence[Segment], tolerance_s: float) -> list[Segment]:
    """Return the events of `first` that have a partner in `second`, each partner taken once.

    Both hold events of one label in order of time, without overlap. The partners of an event are
    then neighbors, and move on from event to event, so that taking the earliest gives the most
    pairs.
    """
    matched, free = [], 0
    for event in first:
        for place in range(free, len(second)):
            other = second[place]
            if other.start_s > event.start_s + tolerance_s:
                break
            close = abs(other.start_s - event.start_s) <= tolerance_s
            if close and abs(other.end_s - event.end_s) <= tolerance_s:
                matched.append(event)
                free = place + 1
                break
    return matched


def _events(tier: Tier, label: str, span_s: tuple[float, float]) -> list[Segment]:
    cut = (
        Segment(max(one.start_s, span_s[0]), min(one.end_s, span_s[1]), label)
        for one in tier.segments
        if one.label == label
    )
    return join_runs(one for one in cut if one.end_s > one.start_s)
