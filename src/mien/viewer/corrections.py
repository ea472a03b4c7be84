"""Corrected labels as a data set with votes, which `mien data import` reads.

Each person who corrected is a rater: a face has one vote for each of them, for the label that
they gave. Faces without a correction are left out: nobody has looked at them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError, SourceError
from mien.files import atomic_write
from mien.predict.detectors.yunet import YuNet
from mien.viewer.lanes import lanes_of
from mien.viewer.media import crops_at
from mien.viewer.results import ROUNDING_S, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.sessions.study_file import Correction
    from mien.viewer.results import Results, SourceRows

EXPORT = "corrections.npz"
SIZE = 48
"""Height and width of a face in the data set, as FER2013's."""
FACES_PER_S = 2.0
"""Faces taken of each second of a correction: neighbouring frames are nearly duplicates."""
MAX_FACES = 60
"""Faces taken of one correction."""
MIN_PEOPLE = 7
"""With as many people, `mien data import` holds out some of them; with fewer it could not hold out
15% of the faces, and whole stretches of corrections are held out here."""
HELD_OUT = 5
"""Of the stretches with a label, every so manyth is for validation, if there are two or more."""
BY_NOBODY = "unnamed"
TRAIN, VALIDATION = "train", "validation"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        images: number of faces.
        skipped: why corrections were left out, a line for each source.
        held_out: number of faces of the validation split; 0 where the import chooses it.
        people: number of people whose faces these are.
    """

    path: Path
    images: int
    skipped: list[str]
    held_out: int = 0
    people: int = 0

    @property
    def split_words(self) -> str:
        """How the faces are split, as a sentence."""
        if self.held_out:
            return (
                f"{self.held_out} of them are for validation, in stretches that training has not: "
                "its accuracy is about these people, not about others"
            )
        if self.people >= MIN_PEOPLE:
            return "mien data import holds out some people for validation"
        return (
            "none of them are for validation: no label has two corrected stretches; correct more "
            "before training"
        )


def chosen_rows(rows: SourceRows, correction: Correction) -> list[int]:
    """Return the rows that stand for a correction: spread evenly, FACES_PER_S at most."""
    piece = Piece(correction.track, correction.start_s, correction.end_s)
    inside = rows.rows_of([piece])
    seconds = correction.end_s - correction.start_s
    count = int(min(max(round(seconds * FACES_PER_S), 1), MAX_FACES, len(inside)))
    # In the middle of equal parts, away from the ends, where a label is least certain.
    places = ((np.arange(count) + 0.5) * len(inside) / max(count, 1)).astype(np.int64)
    return [int(row) for row in inside[places]]


def votes_of(
    corrections: Iterable[Correction], rows: SourceRows, row: int, labels: Sequence[str]
) -> NDArray[np.float32]:
    """Return the votes on a row, float32 [k]: one for each person, the last one counts."""
    latest = {one.by or BY_NOBODY: one.label for one in _covering(corrections, rows, row)}
    votes = np.zeros(len(labels), np.float32)
    for label in latest.values():
        votes[list(labels).index(label)] += 1
    return votes


def stretches(corrections: Sequence[Correction]) -> list[Correction]:
    """Return corrections with those of a track that overlap joined, by their start.

    Each has the label that it starts with.
    """
    found: list[Correction] = []
    for one in sorted(corrections, key=lambda one: (one.source, one.track, one.start_s)):
        last = found[-1] if found else None
        same = last is not None and (last.source, last.track) == (one.source, one.track)
        if last is not None and same and one.start_s < last.end_s:
            found[-1] = replace(last, end_s=max(last.end_s, one.end_s))
        else:
            found.append(one)
    return sorted(found, key=lambda one: (one.source, one.start_s))


def held_out(corrections: Sequence[Correction]) -> list[Correction]:
    """Return the stretches for validation: of each label that has two or more, the second one,
    and every HELD_OUT-th after it."""
    by_label: dict[str, list[Correction]] = {}
    for one in stretches(corrections):
        by_label.setdefault(one.label, []).append(one)
    return [one for own in by_label.values() for one in own[1::HELD_OUT]]


def export_corrections(
    results: Results,
    people: Mapping[str, Any],
    corrections: Sequence[Correction],
    videos: Sequence[Path | None],
    path: Path,
) -> Exported:
    """Write the corrected faces as arrays: images, labels, votes, names, subjects.

    Args:
        results: the rows.
        people: content of people.json; each person is a subject.
        corrections: of the study.
        videos: file of each source, None where it is missing.
        path: .npz file to write.

    Raises:
        DataError: there is no correction, or none whose faces can be read.
        WriteError: the file cannot be written.
    """
    if not corrections:
        raise DataError("study.toml has no corrections", hint="correct a label first, key C")
    faces = _Faces(_labels(results, corrections), corrections, held_out(corrections))
    skipped = []
    for rows, video in zip(results.sources, videos, strict=True):
        try:
            skipped += faces.add(rows, video, _owners(people, rows))
        except SourceError as error:
            skipped.append(error.message)
    if not faces.images:
        raise DataError(
            f"no corrected face can be read: {skipped[0] if skipped else 'none has a row'}",
            hint="put the videos beside the results",
        )
    arrays = faces.arrays()
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    count = int((arrays["usage"] == VALIDATION).sum()) if "usage" in arrays else 0
    return Exported(path, len(faces.images), skipped, count, len(set(faces.subjects)))


@dataclass(slots=True)
class _Faces:
    """Collects the corrected faces of sources."""

    labels: Sequence[str]
    corrections: Sequence[Correction]
    validation: Sequence[Correction]
    images: list[NDArray[np.uint8]] = field(default_factory=list)
    votes: list[NDArray[np.float32]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)
    usage: list[str] = field(default_factory=list)

    def add(self, rows: SourceRows, video: Path | None, owners: Mapping[int, str]) -> list[str]:
        """Add the faces of a source; return why some were left out."""
        own = [one for one in self.corrections if one.source == rows.name]
        chosen = sorted({row for one in own for row in chosen_rows(rows, one)})
        if not chosen:
            return []
        if video is None:
            raise SourceError(f"{rows.name}: its video was not found", hint="")
        # Of the default detector: rows do not say which one found their boxes.
        crops = dict(crops_at(video, rows, chosen, YuNet.framing, SIZE))
        for row in sorted(crops):
            track = f"track {rows.track_n[row]}"
            self.images.append(crops[row])
            self.votes.append(votes_of(own, rows, row, self.labels))
            self.names.append(f"{rows.name} frame {rows.frame_n[row]} {track}")
            self.subjects.append(owners.get(row, f"{rows.name} {track}"))
            is_held_out = any(_covering(self.validation, rows, row))
            self.usage.append(VALIDATION if is_held_out else TRAIN)
        lacking = len(chosen) - len(crops)
        return [] if not lacking else [
            f"{video.name} has no frame at {lacking} of the {len(chosen)} times in the rows of "
            f"{rows.name}: is it another video?"
        ]  # fmt: skip

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of the file; with splits where people are too few to hold some out."""
        votes_nk = np.stack(self.votes)
        tied = (votes_nk == votes_nk.max(axis=1, keepdims=True)).sum(axis=1) > 1
        arrays: dict[str, NDArray[Any]] = {
            "images": np.stack(self.images), "labels": np.where(tied, -1, votes_nk.argmax(axis=1)),
            "label_names": np.array(self.labels), "votes": votes_nk,
            "vote_names": np.array(self.labels), "names": np.array(self.names),
            "subjects": np.array(self.subjects),
        }  # fmt: skip
        if len(set(self.subjects)) < MIN_PEOPLE and VALIDATION in self.usage:
            arrays["usage"] = np.array(self.usage)
        return arrays


def _covering(
    corrections: Iterable[Correction], rows: SourceRows, row: int
) -> Iterator[Correction]:
    """Yield the corrections that a row lies in."""
    time_s, track = float(rows.time_n[row]), int(rows.track_n[row])
    for one in corrections:
        is_own = (one.source, one.track) == (rows.name, track)
        if is_own and one.start_s - ROUNDING_S <= time_s < one.end_s:
            yield one


def _labels(results: Results, corrections: Sequence[Correction]) -> list[str]:
    """Return the model's labels, then those that only corrections have."""
    return list(dict.fromkeys((*results.labels, *(one.label for one in corrections))))


def _owners(people: Mapping[str, Any], rows: SourceRows) -> dict[int, str]:
    """Return the person of each row of a source, by name or id."""
    return {
        int(row): lane.name or lane.id
        for lane in lanes_of(people, rows.name)
        if lane.kind == "person"
        for row in rows.rows_of(lane.pieces)
    }
