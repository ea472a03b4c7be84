"""From a labelled collection to a list of what is wrong with it: read `audit` first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.data.audit.balance import measure_balance
from mien.data.audit.duplicate_checks import Leak, check_copies, measure_leaks
from mien.data.audit.faces import FaceFinder, check_faces
from mien.data.audit.problem import CHECKS, DROP, KEEP, RELABEL, SEVERE, WARNING, Problem
from mien.data.audit.quality import check_quality
from mien.data.audit.wrong_labels import check_labels, left_out_opinions
from mien.data.duplicates import find_copies, pixel_hashes
from mien.data.ground_truth import consensus_targets
from mien.intervals import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.data.duplicates import Copies
    from mien.data.sources.collection import Collection

NO_EXPRESSION = ("unknown", "not_face")


class Embed(Protocol):
    """Features of crops, from a network."""

    def __call__(
        self, crops_nhw: NDArray[np.uint8], progress: Callable[[int, int], None], /
    ) -> NDArray[np.float32]:
        """Return float32 [n, d] for uint8 [n, s, s]; `progress` is called with (done, total)."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """What an audit needs from networks, which data does not know; None leaves the checks out.

    Attributes:
        embed: crops to features.
        model: name of the model that embeds.
        faces: finds faces.
    """

    embed: Embed | None = None
    model: str = ""
    faces: FaceFinder | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found.

    Attributes:
        collection: that was looked at.
        sha256_n: str [n], of each image's pixels.
        problems: by check, the clearest first.
        leaks: how much of the graded splits, as the source has them, is copied in training.
        kept_leaks: the same after `mien data import`; None for a source that is not imported.
        balance: see measure_balance.
        not_checked: why a check was left out, by its name.
        agreement: share of the likely wrong labels that the raters' majority calls wrong too,
            and the number of those with a majority; None without votes.
        model: that was asked about labels, or ''.
    """

    collection: Collection
    sha256_n: NDArray[np.str_]
    problems: list[Problem]
    leaks: list[Leak]
    kept_leaks: list[Leak] | None
    balance: dict[str, Any]
    not_checked: dict[str, str] = field(default_factory=dict)
    agreement: tuple[Estimate, int] | None = None
    model: str = ""

    def counts(self) -> dict[str, int]:
        """Return the number of images that each check found, in the order of CHECKS."""
        rows = Counter(check for check, _, _ in {(p.check, p.row, p.source) for p in self.problems})
        return {check: rows[check] for check in CHECKS if check not in self.not_checked}

    def suggested(self) -> dict[str, dict[str, int]]:
        """Return how often each check suggests to drop and to relabel, what it does suggest only.

        The order is that of CHECKS.
        """
        found = Counter((p.check, p.action) for p in self.problems)
        return {
            check: {a: found[check, a] for a in (DROP, RELABEL) if found[check, a]}
            for check in CHECKS
        }


def audit(
    collection: Collection,
    tools: Tools,
    kept_splits_n: NDArray[np.str_] | None = None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Audit:
    """Look at every image and label of a collection.

    Args:
        collection: to look at, with the splits that its source gives.
        tools: networks to use.
        kept_splits_n: str [n], the splits of the dataset that was made of it, or None.
        progress: called with the stage, and how much of it is done.
    """
    images, labels = collection.images_nhw, collection.labels_n
    sha256_n = pixel_hashes(images)
    pixels_n = _first_of_each(sha256_n)
    copies = find_copies(images, lambda d, t: progress("finding copies", d, t))
    problems = [
        Problem(-1, "unreadable", WARNING, skipped.reason, source=skipped.source)
        for skipped in collection.skipped
    ]
    problems += check_quality(images)
    not_checked: dict[str, str] = {}
    problems += _faces(collection, tools, problems, not_checked, progress)
    problems += check_copies(
        copies, pixels_n, labels, collection.label_names, collection.splits_n, collection.sources_n
    )
    problems += _wrong_labels(collection, copies, tools, problems, not_checked, progress)
    disagreeing, agreement = _votes(collection, problems, not_checked)
    problems += disagreeing
    order = {check: position for position, check in enumerate(CHECKS)}
    problems.sort(key=lambda p: (order[p.check], -p.score, p.row))
    leaks = measure_leaks(collection.splits_n, copies.groups_n, pixels_n)
    kept = None
    if kept_splits_n is not None:
        kept = measure_leaks(kept_splits_n, copies.groups_n, pixels_n)
    if not leaks:
        not_checked["copy-across-splits"] = "the source has no training beside a graded split"
    return Audit(
        collection, sha256_n, problems, leaks, kept, measure_balance(collection), not_checked,
        agreement, tools.model,
    )  # fmt: skip


def _first_of_each(values_n: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return for each row the first row with the same value, int64 [n]."""
    _, first, inverse = np.unique(values_n, return_index=True, return_inverse=True)
    rows: NDArray[np.int64] = first[inverse.ravel()]
    return rows


def _faces(
    collection: Collection,
    tools: Tools,
    problems: list[Problem],
    not_checked: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> list[Problem]:
    if tools.faces is None:
        not_checked["faceless"] = "no face detector was given"
        return []
    blank = np.zeros(len(collection), bool)
    blank[[p.row for p in problems if p.check == "blank"]] = True
    found, reason = check_faces(
        collection.images_nhw, tools.faces, blank, lambda d, t: progress("looking for faces", d, t)
    )
    if reason:
        not_checked["faceless"] = reason
    return found


def _wrong_labels(
    collection: Collection,
    copies: Copies,
    tools: Tools,
    problems: list[Problem],
    not_checked: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> list[Problem]:
    if tools.embed is None:
        not_checked["likely-wrong-label"] = "no model was given"
        return []
    # What shows no face teaches nothing about labels, and is listed already.
    empty = {p.row for p in problems if p.check in ("blank", "faceless")}
    labels = collection.labels_n.copy()
    labels[list(empty)] = -1
    features = tools.embed(
        collection.images_nhw, lambda d, t: progress("asking a model about labels", d, t)
    )
    opinions = left_out_opinions(
        features, labels, collection.label_names, copies.groups_n, collection.subjects_n
    )
    if opinions.reason:
        not_checked["likely-wrong-label"] = opinions.reason
    return check_labels(opinions, labels, collection.label_names)


def _votes(
    collection: Collection, problems: list[Problem], not_checked: dict[str, str]
) -> tuple[list[Problem], tuple[Estimate, int] | None]:
    """Return the labels that the raters' majority is against, and how it judges the model's."""
    if collection.votes_nk is None:
        not_checked["votes-disagree"] = "the collection has no votes"
        return [], None
    votes, names = collection.votes_nk, collection.label_names
    answers = [name for name in collection.vote_names if name not in NO_EXPRESSION]
    panel = consensus_targets(votes, collection.vote_names, answers)
    shares = votes.max(axis=1) / np.maximum(votes.sum(axis=1), 1)
    disagreeing = []
    against = np.zeros(len(collection), bool)
    for row in np.flatnonzero((panel >= 0) & (collection.labels_n >= 0)).tolist():
        label, majority = names[collection.labels_n[row]], answers[panel[row]]
        against[row] = label != majority
        if against[row]:
            text = f"labelled {label}; {shares[row]:.0%} of the votes are for {majority}"
            new = majority if majority in names else ""
            share = float(shares[row])
            severity = SEVERE if share >= 0.8 else WARNING
            disagreeing.append(
                Problem(row, "votes-disagree", severity, text, KEEP, new, score=share)
            )
    wrong = [p.row for p in problems if p.check == "likely-wrong-label" and panel[p.row] >= 0]
    agreement = (wilson(float(against[wrong].sum()), len(wrong)), len(wrong)) if wrong else None
    return disagreeing, agreement
