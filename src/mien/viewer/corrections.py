"""Corrected labels as a data set with votes, which `mien data import` reads.

Each person who corrected is a rater: a face has one vote for each of them, for the label that
they gave. Faces without a correction are left out: nobody has looked at them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError, SourceError
from mien.files import atomic_write
from mien.predict.detectors.yunet import YuNet
from mien.viewer.lanes import lanes_of
from mien.viewer.media import crops_at
from mien.viewer.results import ROUNDING_S, Piece

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
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
BY_NOBODY = "unnamed"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        path: of the file.
        images: number of faces.
        skipped: why corrections were left out, a line for each source.
    """

    path: Path
    images: int
    skipped: list[str]


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
    time_s, track = float(rows.time_n[row]), int(rows.track_n[row])
    latest = {
        one.by or BY_NOBODY: one.label
        for one in corrections
        if (one.source, one.track) == (rows.name, track)
        and one.start_s - ROUNDING_S <= time_s < one.end_s
    }
    votes = np.zeros(len(labels), np.float32)
    for label in latest.values():
        votes[list(labels).index(label)] += 1
    return votes


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
    labels = _labels(results, corrections)
    images, votes, names, subjects = [], [], [], []
    skipped = []
    for rows, video in zip(results.sources, videos, strict=True):
        chosen = sorted(
            {row for one in corrections if one.source == rows.name
             for row in chosen_rows(rows, one)}
        )  # fmt: skip
        if not chosen:
            continue
        try:
            if video is None:
                raise SourceError(f"{rows.name}: its video was not found", hint="")
            # Of the default detector: rows do not say which one found their boxes.
            crops = dict(crops_at(video, rows, chosen, YuNet.framing, SIZE))
        except SourceError as error:
            skipped.append(error.message)
            continue
        lacking = len(chosen) - len(crops)
        if lacking:
            skipped.append(
                f"{video.name} has no frame at {lacking} of the {len(chosen)} times in the rows of "
                f"{rows.name}: is it another video?"
            )
        chosen = [row for row in chosen if row in crops]
        images += [crops[row] for row in chosen]
        owner = _owners(people, rows)
        votes += [votes_of(corrections, rows, row, labels) for row in chosen]
        subjects += [owner.get(row, f"{rows.name} track {rows.track_n[row]}") for row in chosen]
        names += [f"{rows.name} frame {rows.frame_n[row]} track {rows.track_n[row]}"
                  for row in chosen]  # fmt: skip
    if not images:
        raise DataError(
            f"no corrected face can be read: {skipped[0] if skipped else 'none has a row'}",
            hint="put the videos beside the results",
        )
    votes_nk = np.stack(votes)
    tied = (votes_nk == votes_nk.max(axis=1, keepdims=True)).sum(axis=1) > 1
    arrays = {
        "images": np.stack(images), "labels": np.where(tied, -1, votes_nk.argmax(axis=1)),
        "label_names": np.array(labels), "votes": votes_nk, "vote_names": np.array(labels),
        "names": np.array(names), "subjects": np.array(subjects),
    }  # fmt: skip
    with atomic_write(path) as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return Exported(path, len(images), skipped)


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
