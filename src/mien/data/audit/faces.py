"""Images without a face: a cheap score for all, a detector for the few that it doubts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.data.audit.problem import WARNING, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DOUBTFUL = 0.1
"""Score below which the detector looks: 409 of 420 planted images without a face are below it
(bench/audit.py, seed 1), and 1.5% of FER2013's."""
TOO_MANY = 0.1
"""Share of faceless images above which the detector, not the collection, is at fault."""
LEAST = 10


class FaceFinder(Protocol):
    """Knows faces; given by the command line, since data knows no networks."""

    def scores(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return how much each crop, uint8 [n, s, s], looks like a face, float32 [n], 0 to 1."""
        ...

    def has_face(self, crop_hw: NDArray[np.uint8]) -> bool:
        """Return whether a face is found on one crop, slowly and surely."""
        ...


def check_faces(
    images_nhw: NDArray[np.uint8],
    finder: FaceFinder,
    skip_n: NDArray[np.bool_],
    progress: Callable[[int, int], None],
) -> tuple[list[Problem], str]:
    """Return the images without a face, and why none are listed where that cannot be told.

    Args:
        images_nhw: uint8 [n, s, s].
        finder: that knows faces.
        skip_n: bool [n], images that are not looked at: blank ones.
        progress: called with (done, total).
    """
    rows = np.flatnonzero(~skip_n)
    scores = finder.scores(np.asarray(images_nhw)[rows])
    doubtful = np.flatnonzero(scores < DOUBTFUL)
    reason = (
        "the face detector does not know images of this kind: it doubts {share:.0%} of them "
        "(drawings, or crops far wider or tighter than a face?)"
    )
    most = max(TOO_MANY * len(rows), LEAST)
    if len(doubtful) > 2 * most:
        return [], reason.format(share=len(doubtful) / len(rows))
    problems = []
    for done, i in enumerate(doubtful, start=1):
        if not finder.has_face(np.asarray(images_nhw[rows[i]])):
            text = f"no face found; face score {scores[i]:.2f} of 1"
            problems.append(
                Problem(int(rows[i]), "faceless", WARNING, text, score=1 - float(scores[i]))
            )
        progress(done, len(doubtful))
    if len(problems) > most:
        return [], reason.format(share=len(problems) / len(rows))
    return problems, ""
