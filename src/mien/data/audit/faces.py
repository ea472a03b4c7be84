"""Images without a face: a fast score for all, a full detector for those with a low score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.data.audit.problem import WARNING, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DOUBTFUL = 0.1
"""Score below which the full detector is run: 409 of 420 planted images without a face are below
it (bench/audit.py, seed 1), and 1.5% of FER2013's."""
MAX_FACELESS = 0.1
"""Fraction of faceless images above which the detector fails on this kind of image."""
ALWAYS_LISTED = 10
"""Number of faceless images that are listed whatever their fraction: small datasets have few."""


class FaceFinder(Protocol):
    """Detects faces; passed in by the command line, since this package imports no networks."""

    def scores(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a face score for each crop, uint8 [n, size, size]: float32 [n], 0 to 1."""
        ...

    def has_face(self, crop_hw: NDArray[np.uint8]) -> bool:
        """Return whether a face is detected in one crop, slower and more reliably."""
        ...


def check_faces(
    images_nhw: NDArray[np.uint8],
    finder: FaceFinder,
    skip_n: NDArray[np.bool_],
    progress: Callable[[int, int], None],
) -> tuple[list[Problem], str]:
    """Return the images without a face, and '' or the reason why none can be listed.

    Args:
        images_nhw: uint8 [n, size, size].
        finder: detects faces.
        skip_n: bool [n], images that are not checked: blank ones.
        progress: called with (done, total), in images with a low score.
    """
    rows = np.flatnonzero(~skip_n)
    scores = finder.scores(np.asarray(images_nhw)[rows])
    doubtful = np.flatnonzero(scores < DOUBTFUL)
    reason = (
        "the face detector does not know images of this kind: it finds no face in "
        "{fraction:.0%} of them (drawings, or crops far wider or tighter than a face?)"
    )
    limit = max(MAX_FACELESS * len(rows), ALWAYS_LISTED)
    # Before the slow detector is run on all of them.
    if len(doubtful) > 2 * limit:
        return [], reason.format(fraction=len(doubtful) / len(rows))
    problems = []
    for done, i in enumerate(doubtful, start=1):
        if not finder.has_face(np.asarray(images_nhw[rows[i]])):
            text = f"no face detected; face score {scores[i]:.2f} of 1"
            problems.append(
                Problem(int(rows[i]), "faceless", WARNING, text, score=1 - float(scores[i]))
            )
        progress(done, len(doubtful))
    if len(problems) > limit:
        return [], reason.format(fraction=len(problems) / len(rows))
    return problems, ""
