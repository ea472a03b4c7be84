"""Find problems in labelled images and their labels: read `audit` first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.data.audit.balance import measure_balance
from mien.data.audit.duplicate_checks import Leak, check_duplicates, measure_leaks
from mien.data.audit.faces import FaceFinder, check_faces
from mien.data.audit.problem import CHECKS, DROP, KEEP, RELABEL, SEVERE, WARNING, Problem
from mien.data.audit.quality import check_quality
from mien.data.audit.wrong_labels import check_labels, predict_out_of_fold
from mien.data.drawn import SOURCE
from mien.data.duplicates import find_duplicates, pixel_hashes
from mien.data.ground_truth import consensus_targets
from mien.intervals import Estimate, wilson

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.data.duplicates import Duplicates

NO_EXPRESSION = ("unknown", "not_face")
"""Columns of votes that are not labels."""
DRAWN_NOTE = (
    "these are drawn faces, which share their lines: most of the near-duplicates and leaks found "
    "among them are false, since mien data draw makes none"
)
CLEAR_MAJORITY = 0.8
"""Fraction of the votes from which a contradicted label is severe."""


class Embed(Protocol):
    """Computes features of crops with a network."""

    def __call__(
        self, crops_nhw: NDArray[np.uint8], progress: Callable[[int, int], None], /
    ) -> NDArray[np.float32]:
        """Return float32 [n, d] for uint8 [n, size, size]; `progress` gets (done, total)."""
        ...


@dataclass(frozen=True, slots=True)
class Tools:
    """Networks that an audit uses; this package imports none. None skips the checks that need it.

    Attributes:
        embed: computes features of crops.
        model: name of the model that embeds.
        faces: detects faces.
    """

    embed: Embed | None = None
    model: str = ""
    faces: FaceFinder | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings about a dataset.

    Attributes:
        dataset: the audited dataset.
        sha256_n: str [n], hash of each image's pixels.
        problems: findings by check, the clearest first.
        leaks: duplicates of the training images in validation and test, as the source splits them.
        leaks_after_import: the same for the dataset's own splits; None for a source.
        balance: see measure_balance.
        not_checked: why a check was skipped, by its name.
        agreement: fraction of the likely wrong labels that the raters' consensus contradicts too,
            and the number of those with a consensus; None without votes.
        model: name of the model that predicted labels, or ''.
    """

    dataset: Dataset
    sha256_n: NDArray[np.str_]
    problems: list[Problem]
    leaks: list[Leak]
    leaks_after_import: list[Leak] | None
    balance: dict[str, Any]
    not_checked: dict[str, str] = field(default_factory=dict)
    agreement: tuple[Estimate, int] | None = None
    model: str = ""

    @property
    def notes(self) -> list[str]:
        """What a reader of the findings must know, a sentence each."""
        is_drawn = any(str(name).startswith(SOURCE) for name in self.dataset.sources_n)
        return [DRAWN_NOTE] if is_drawn else []

    def counts(self) -> dict[str, int]:
        """Return the number of images per check that was done, in the order of CHECKS."""
        rows = Counter(check for check, _, _ in {(p.check, p.row, p.source) for p in self.problems})
        return {check: rows[check] for check in CHECKS if check not in self.not_checked}

    def suggested(self) -> dict[str, dict[str, int]]:
        """Return how often each check suggests to drop and to relabel, without zeros.

        The order is that of CHECKS.
        """
        found = Counter((p.check, p.action) for p in self.problems)
        return {
            check: {a: found[check, a] for a in (DROP, RELABEL) if found[check, a]}
            for check in CHECKS
        }


def audit(
    dataset: Dataset,
    tools: Tools,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Audit:
    """Check every image and label of a dataset.

    Args:
        dataset: a loaded dataset, or the unsplit dataset of a source. Problems are about the splits
            that the source gives; leaks are measured in the dataset's own splits too.
        tools: networks to use.
        progress: called with (stage, done, total).
    """
    images, labels = dataset.images_nhw, dataset.labels_n
    sha256_n = pixel_hashes(images)
    pixels_n = _first_of_each(sha256_n)
    duplicates = find_duplicates(images, lambda d, t: progress("finding duplicates", d, t))
    problems = [
        Problem(-1, "unreadable", WARNING, skipped.reason, source=skipped.source)
        for skipped in dataset.skipped
    ]
    problems += check_quality(images)
    not_checked: dict[str, str] = {}
    problems += _faces(dataset, tools, problems, not_checked, progress)
    problems += check_duplicates(
        duplicates,
        pixels_n,
        labels,
        dataset.label_names,
        dataset.source_splits_n,
        dataset.sources_n,
    )
    # After `_faces`, whose findings it leaves out.
    problems += _wrong_labels(dataset, duplicates, tools, problems, not_checked, progress)
    disagreeing, agreement = _votes(dataset, problems, not_checked)
    problems += disagreeing
    order = {check: position for position, check in enumerate(CHECKS)}
    # The row decides between equals, so that two audits of the same data are the same file.
    problems.sort(key=lambda p: (order[p.check], -p.score, p.row))
    groups_n = duplicates.groups_n
    leaks = measure_leaks(dataset.source_splits_n, groups_n, pixels_n)
    own = measure_leaks(dataset.splits_n, groups_n, pixels_n) if dataset.is_split else None
    if not leaks:
        not_checked["duplicate-across-splits"] = (
            "the source has no training split beside a validation or test split"
        )
    return Audit(
        dataset, sha256_n, problems, leaks, own, measure_balance(dataset), not_checked,
        agreement, tools.model,
    )  # fmt: skip


def _first_of_each(values_n: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return for each row the first row with the same value, int64 [n]."""
    _, first, inverse = np.unique(values_n, return_index=True, return_inverse=True)
    rows: NDArray[np.int64] = first[inverse.ravel()]
    return rows


def _faces(
    dataset: Dataset,
    tools: Tools,
    problems: list[Problem],
    not_checked: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> list[Problem]:
    """Return the images without a face; record in `not_checked` why there are none."""
    if tools.faces is None:
        not_checked["faceless"] = "no face detector was given"
        return []
    # A blank image is a finding of its own: it would be listed twice as one without a face.
    blank = np.zeros(len(dataset), bool)
    blank[[p.row for p in problems if p.check == "blank"]] = True
    found, reason = check_faces(
        dataset.images_nhw, tools.faces, blank, lambda d, t: progress("detecting faces", d, t)
    )
    if reason:
        not_checked["faceless"] = reason
    return found


def _wrong_labels(
    dataset: Dataset,
    duplicates: Duplicates,
    tools: Tools,
    problems: list[Problem],
    not_checked: dict[str, str],
    progress: Callable[[str, int, int], None],
) -> list[Problem]:
    """Return the labels that are likely wrong; record in `not_checked` why there are none."""
    if tools.embed is None:
        not_checked["likely-wrong-label"] = "no model was given"
        return []
    # Images without a face give no evidence about labels, and are listed already.
    empty = {p.row for p in problems if p.check in ("blank", "faceless")}
    labels = dataset.labels_n.copy()
    labels[list(empty)] = -1
    features = tools.embed(dataset.images_nhw, lambda d, t: progress("predicting labels", d, t))
    predicted = predict_out_of_fold(
        features, labels, dataset.label_names, duplicates.groups_n, dataset.subjects_n
    )
    if predicted.reason:
        not_checked["likely-wrong-label"] = predicted.reason
    return check_labels(predicted, labels, dataset.label_names)


def _votes(
    dataset: Dataset, problems: list[Problem], not_checked: dict[str, str]
) -> tuple[list[Problem], tuple[Estimate, int] | None]:
    """Return the labels that the raters' consensus contradicts, and `Audit.agreement`."""
    if dataset.votes_nk is None:
        not_checked["votes-disagree"] = "the dataset has no votes"
        return [], None
    votes, names = dataset.votes_nk, dataset.label_names
    labels = [name for name in dataset.vote_names if name not in NO_EXPRESSION]
    consensus = consensus_targets(votes, dataset.vote_names, labels)
    fractions = votes.max(axis=1) / np.maximum(votes.sum(axis=1), 1)
    disagreeing = []
    contradicted = np.zeros(len(dataset), bool)
    for row in np.flatnonzero((consensus >= 0) & (dataset.labels_n >= 0)).tolist():
        label, voted = names[dataset.labels_n[row]], labels[consensus[row]]
        contradicted[row] = label != voted
        if contradicted[row]:
            text = f"labelled {label}; {fractions[row]:.0%} of the votes are for {voted}"
            new = voted if voted in names else ""
            fraction = float(fractions[row])
            # A close vote contradicts a label, but does not refute it.
            severity = SEVERE if fraction >= CLEAR_MAJORITY else WARNING
            disagreeing.append(
                Problem(row, "votes-disagree", severity, text, KEEP, new, score=fraction)
            )
    # How often the raters confirm the model tells how far to trust it on images without votes.
    wrong = [p.row for p in problems if p.check == "likely-wrong-label" and consensus[p.row] >= 0]
    agreement = (
        (wilson(float(contradicted[wrong].sum()), len(wrong)), len(wrong)) if wrong else None
    )
    return disagreeing, agreement
