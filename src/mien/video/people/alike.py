"""Whether the faces of a folder can be distinguished: drawn faces, masks and twins often cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.model.descriptor import FaceDescriptor

MIN_PAIRS = 6
"""Pairs that a judgement needs."""
TOO_ALIKE = 0.2
"""Proportion of pairs of two people that look like one, or of pairs that look like neither, from
which on the faces are too alike: 0 to 0.02 of photos, 0.3 and more of drawn faces, see
bench/people.py."""
CLEAR, SURE = 3, 4
"""Margins above the descriptor's threshold from which on a pair is clearly one person, and from
which on alike faces may be one."""
SURE_QUANTILE = 0.9
"""Quantile of the pairs of two people that the similarity of alike faces must exceed too."""


class Judgement(NamedTuple):
    """How alike faces are.

    Attributes:
        threshold: cosine similarity from which on groups of tracks are one person.
        too_alike: whether the threshold was raised because the faces are too alike.
    """

    threshold: float
    too_alike: bool


def judge(
    similarity_nn: NDArray[np.float64], apart_nn: NDArray[np.bool_], descriptor: FaceDescriptor
) -> Judgement:
    """Return the threshold for some faces: the descriptor's, or a higher one for alike faces.

    Two faces of one frame are known to be two people. If many such pairs are as similar as one
    person's, or if many pairs of tracks are neither clearly one person nor clearly two, then the
    descriptor's threshold would join strangers.

    Args:
        similarity_nn: float64 [n, n], cosine similarity of tracks.
        apart_nn: bool [n, n], which pairs are known to be two people.
        descriptor: what they were embedded by.
    """
    upper = np.triu_indices(len(similarity_nn), 1)
    pairs, apart = similarity_nn[upper], apart_nn[upper]
    low = descriptor.threshold - descriptor.margin
    clear = descriptor.threshold + CLEAR * descriptor.margin
    between = (pairs > low) & (pairs < clear)
    strangers = pairs[apart]
    alike = [
        len(some) >= MIN_PAIRS and some.mean() > TOO_ALIKE for some in (between, strangers > low)
    ]
    if not any(alike):
        return Judgement(descriptor.threshold, too_alike=False)
    least = descriptor.threshold + SURE * descriptor.margin
    if len(strangers) >= MIN_PAIRS:
        least = max(least, float(np.quantile(strangers, SURE_QUANTILE)))
    return Judgement(least, too_alike=True)
