"""A finding about one image, and the names of the checks."""

from __future__ import annotations

from dataclasses import dataclass

CHECKS = {
    "unreadable": "files that import skips: not an image, damaged, or without a clear face",
    "blank": "one even area, black, white or grey",
    "mostly-flat": "mostly one even area, or wide even borders: the face may be cropped away",
    "faceless": "no face was detected: there is none, or it is turned, covered or cut off",
    "blurred": "far less fine detail than the other images",
    "too-dark": "far darker than the other images",
    "too-bright": "far brighter than the other images",
    "exact-duplicate": "the same pixels as another image",
    "near-duplicate": "the same photograph as another image, slightly changed",
    "conflict": "duplicates of one image with different labels",
    "duplicate-across-splits": "training images with a duplicate in validation or test",
    "likely-wrong-label": "a model that was not trained on the image predicts another label",
    "votes-disagree": "the consensus of the raters is another label",
}
"""Every check in the order of the page, with a description."""
SEVERE, WARNING, NOTE = "severe", "warning", "note"
KEEP, DROP, RELABEL = "keep", "drop", "relabel"
ACTIONS = (KEEP, DROP, RELABEL)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding about one image.

    Attributes:
        row: row of the image; -1 for a file that was skipped.
        check: one of CHECKS.
        severity: 'severe', 'warning' or 'note'.
        detail: the evidence, for people.
        action: suggested action, 'keep', 'drop' or 'relabel'.
        new_label: suggested label, or ''.
        score: how clear the finding is; the page shows the largest first.
        other: row of the image that this one is a duplicate of, or -1.
        source: name of a skipped file, else ''.
    """

    row: int
    check: str
    severity: str
    detail: str
    action: str = KEEP
    new_label: str = ""
    score: float = 0.0
    other: int = -1
    source: str = ""
