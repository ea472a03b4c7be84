"""Are images of the second epoch mirror images of the first one's, as by random flips?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.programs.measurements import Mirrored
from mien.doctor.programs.trees import tensors

if TYPE_CHECKING:
    from torch import Tensor

    from mien.doctor.programs.recording import Recording

DIRECTIONS = ((-1, "left to right"), (-2, "upside down"))
"""Dimensions of [examples, channels, rows, columns], and what a flip along them is called."""
MIN_HITS = 5


def mirrored_of(watch: Recording) -> Mirrored | None:
    """Return how many kept images of the second epoch are mirror images of the first one's.

    Bit for bit. None where there are too few, or inputs are no images. An image that is its own
    mirror image does not count.
    """
    known, again = (_images(s.inputs) for s in (watch.train, watch.again))
    if not known or not again:
        return None
    keys = {image.contiguous().numpy().tobytes() for image in known}
    best: Mirrored | None = None
    for dim, direction in DIRECTIONS:
        hits = 0
        for image in again:
            flipped = image.flip(dim).contiguous().numpy().tobytes()
            hits += flipped in keys and image.contiguous().numpy().tobytes() not in keys
        if hits >= MIN_HITS and (best is None or hits > best.count):
            best = Mirrored(direction, hits, len(again))
    return best


def _images(batches: list[object]) -> list[Tensor]:
    """Return the images of all batches, [channels, rows, columns] each; none for other inputs."""
    found: list[Tensor] = []
    for batch in batches:
        first = next(tensors(batch), None)
        if first is None or first.ndim != 4:
            return []
        found += list(first.detach().cpu().float())
    return found
