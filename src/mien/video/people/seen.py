"""When each track of a folder of rows was seen: what merging and splitting people must know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray


class TrackKey(NamedTuple):
    """A track: tracks are numbered from 1 within each source."""

    source: str
    track: int


@dataclass(frozen=True, slots=True)
class Seen:
    """The frames in which one track was seen.

    Attributes:
        frames_n: int64 [n], rising numbers of the frames.
        times_n: float64 [n], their times in seconds.
    """

    frames_n: NDArray[np.int64]
    times_n: NDArray[np.float64]

    def between(self, start_s: float | None, end_s: float | None) -> NDArray[np.int64]:
        """Return the frames from `start_s` up to, not including, `end_s`; None is unbounded."""
        first = 0 if start_s is None else int(np.searchsorted(self.times_n, start_s))
        end = len(self.times_n) if end_s is None else int(np.searchsorted(self.times_n, end_s))
        return self.frames_n[first:end]

    def time_of(self, frame: int) -> float:
        """Return the time of one of its frames, in seconds."""
        return float(self.times_n[np.searchsorted(self.frames_n, frame)])


def seen_in(table: Any) -> dict[TrackKey, Seen]:
    """Return when each track of a table was seen, sources in their order and tracks by number.

    Args:
        table: a pyarrow.Table with the columns source, frame, time_s and track of video rows.
    """
    return dict(_groups(table))


def _groups(table: Any) -> Iterator[tuple[TrackKey, Seen]]:
    columns = coded(table)
    frames = table["frame"].to_numpy()
    times = table["time_s"].to_numpy()
    # Sorted once: a mask for each track would take minutes for hours of rows.
    order = np.lexsort((frames, columns.track_n, columns.source_n))
    order = order[columns.track_n[order] > 0]
    if not len(order):
        return
    sources, tracks = columns.source_n[order], columns.track_n[order]
    changes = (np.diff(sources) != 0) | (np.diff(tracks) != 0)
    for part in np.split(order, np.flatnonzero(changes) + 1):
        key = TrackKey(columns.names[columns.source_n[part[0]]], int(columns.track_n[part[0]]))
        yield key, Seen(frames[part].astype(np.int64), times[part].astype(np.float64))


class CodedColumns(NamedTuple):
    """The columns source and track as numbers.

    Attributes:
        names: of the sources.
        source_n: int64 [n], index into `names` of each row.
        track_n: int64 [n]; 0 in rows without a face.
    """

    names: list[str]
    source_n: NDArray[np.int64]
    track_n: NDArray[np.int64]


def coded(table: Any) -> CodedColumns:
    """Return the columns source and track of a pyarrow.Table of rows as numbers."""
    source = table["source"].combine_chunks().dictionary_encode()
    track = table["track"].fill_null(0).to_numpy()
    return CodedColumns(
        source.dictionary.to_pylist(),
        source.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        track.astype(np.int64),
    )


def joint_frame(
    first: Mapping[TrackKey, list[NDArray[np.int64]]],
    second: Mapping[TrackKey, list[NDArray[np.int64]]],
) -> tuple[str, int, int, int] | None:
    """Return the first frame that holds tracks of both, or None.

    Args:
        first: the frames of each track of one person.
        second: likewise, of another person.

    Returns:
        Source, frame, and the track of each.
    """
    for one, frames in first.items():
        for other, others in second.items():
            if one.source != other.source:
                continue
            common = np.intersect1d(np.concatenate(frames), np.concatenate(others))
            if len(common):
                return one.source, int(common[0]), one.track, other.track
    return None
