"""One thing that is wrong with one image, and what the checks are called."""

from __future__ import annotations

from dataclasses import dataclass

CHECKS = {
    "unreadable": "files that import passes over: no image, damaged, or without a clear face",
    "blank": "one even area, black, white or grey",
    "mostly-flat": "mostly one even area, or wide even borders: the face may be cropped away",
    "faceless": "no face was found: there is none, or it is turned, covered or cut off",
    "blurred": "far less fine detail than the others",
    "too-dark": "far darker than the others",
    "too-bright": "far brighter than the others",
    "exact-copy": "the same pixels as another image",
    "near-copy": "the same photograph as another, changed a little",
    "conflict": "copies of one image with different labels",
    "copy-across-splits": "training images with a copy in validation or test",
    "likely-wrong-label": "a model, taught without the image, is sure of another label",
    "votes-disagree": "the raters' majority is not the label",
}
"""Every check, in the order of the page, and what it finds."""
SEVERE, WARNING, NOTE = "severe", "warning", "note"
KEEP, DROP, RELABEL = "keep", "drop", "relabel"
ACTIONS = (KEEP, DROP, RELABEL)


@dataclass(frozen=True, slots=True)
class Problem:
    """A finding about one image.

    Attributes:
        row: of the image; -1 for a file that is none.
        check: one of CHECKS.
        severity: 'severe', 'warning' or 'note'.
        detail: the evidence, in words.
        action: what is suggested: 'keep', 'drop' or 'relabel'.
        new_label: the label that is suggested, or ''.
        score: how clear it is; the page shows the largest first.
        other: row of the image that it is a copy of, or -1.
        source: of a file that has no row.
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
