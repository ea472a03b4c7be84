"""A folder of results as arrays: the rows of each source, by track."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError
from mien.files import CHECK_PATH, near_file, read_json
from mien.tables.load import SUFFIXES, by_source, labels_of, load_rows
from mien.types import UNSURE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

DEFAULT_STEP_S = 1 / 25
"""Sampling interval of a source with a single frame."""
ROUNDING_S = 1e-6
"""Rows have times to a microsecond."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A track, or the part of it from `start_s` until before `end_s`, in seconds.

    Attributes:
        track: its number in the source.
        start_s: None starts with the track.
        end_s: None ends with it.
    """

    track: int
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True, slots=True)
class SourceRows:
    """The rows of one source that have a face, sorted by track, then by time.

    Attributes:
        name: of the source, as in the rows.
        file: the rows' file.
        labels: of the model, in its order.
        track_n: int32 [n].
        frame_n: int64 [n].
        time_n: float64 [n], seconds.
        box_n4: float32 [n, 4], pixels, x0 y0 x1 y1.
        score_n: float32 [n], the detector's.
        probs_nk: float32 [n, k], smoothed, NaN where the face was not classified.
        code_n: uint8 [n], index of the label; k is unsure, k + 1 was not classified.
        step_s: sampling interval, the median time from frame to frame.
        end_s: until when the last frame counts.
        frames: number of frames, those without a face among them.
    """

    name: str
    file: Path
    labels: tuple[str, ...]
    track_n: NDArray[np.int32]
    frame_n: NDArray[np.int64]
    time_n: NDArray[np.float64]
    box_n4: NDArray[np.float32]
    score_n: NDArray[np.float32]
    probs_nk: NDArray[np.float32]
    code_n: NDArray[np.uint8]
    step_s: float
    end_s: float
    frames: int

    @property
    def tracks(self) -> list[int]:
        """Numbers of the tracks, rising."""
        return [int(track) for track in np.unique(self.track_n)]

    def rows_of(self, pieces: Iterable[Piece]) -> NDArray[np.int64]:
        """Return the rows of tracks or parts of them, int64 [m], by time."""
        found = [self._piece(piece) for piece in pieces]
        rows = np.concatenate(found) if found else np.zeros(0, np.int64)
        return rows[np.argsort(self.time_n[rows], kind="stable")]

    def span(self, track: int) -> tuple[float, float]:
        """Return the times of a track's first and last row, in seconds.

        Raises:
            DataError: the source has no such track.
        """
        rows = self._piece(Piece(track))
        if not len(rows):
            raise DataError(
                f"{self.name} has no track {track}",
                hint=f"its tracks are {_few(self.tracks)}",
            )
        return float(self.time_n[rows[0]]), float(self.time_n[rows[-1]])

    def _piece(self, piece: Piece) -> NDArray[np.int64]:
        first, last = np.searchsorted(self.track_n, [piece.track, piece.track + 1])
        times = self.time_n[first:last]
        start_s = -np.inf if piece.start_s is None else piece.start_s - ROUNDING_S
        end_s = np.inf if piece.end_s is None else piece.end_s - ROUNDING_S
        begin, end = np.searchsorted(times, [start_s, end_s])
        return np.arange(first + begin, first + end, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Results:
    """All rows of a folder.

    Attributes:
        folder: of the results.
        labels: of the model.
        sources: by name.
        notes: files that are not rows, and why.
    """

    folder: Path
    labels: tuple[str, ...]
    sources: tuple[SourceRows, ...]
    notes: tuple[str, ...] = field(default=())

    def source(self, name: str) -> SourceRows:
        """Return a source by its name.

        Raises:
            DataError: there is none of this name.
        """
        for source in self.sources:
            if source.name == name:
                return source
        names = [source.name for source in self.sources]
        raise DataError(f"source: no rows of {name!r}", hint=f"known: {_few(names)}")


def load_results(folder: Path, progress: Callable[[int, int], None] | None = None) -> Results:
    """Read the rows of a folder that `mien video` has written.

    Args:
        folder: of the results.
        progress: called with the number of files that are read, and of all.

    Raises:
        DataError: the folder is missing or has no rows, a file of rows is damaged, two files have
            rows of the same source, or rows of models with other labels.
        MissingExtraError: pyarrow is not installed.
    """
    files = _row_files(folder)
    sources: list[SourceRows] = []
    notes: list[str] = []
    skipped: list[DataError] = []
    for number, file in enumerate(files, 1):
        try:
            sources += _load_file(file)
        except DataError as error:
            # `mien video` writes a summary beside its rows; other tables may lie here too.
            if _summary_path(file).exists():
                raise
            skipped.append(error)
            notes.append(error.message)
        if progress:
            progress(number, len(files))
    if not sources:
        if skipped:
            raise skipped[0]
        raise DataError(
            f"{folder} has rows, but none of them is of a source",
            hint="write them again: mien video clip.mp4 --out DIR",
        )
    _check_sources(sources)
    by_name = sorted(sources, key=lambda source: source.name)
    return Results(folder, sources[0].labels, tuple(by_name), tuple(notes))


def _row_files(folder: Path) -> list[Path]:
    if not folder.exists():
        raise DataError(f"{folder}: no such folder", hint=near_file(folder) + CHECK_PATH)
    if not folder.is_dir():
        raise DataError(
            f"{folder} is a file, not a folder of results",
            hint=f"give the folder that it is in, {folder.parent}",
        )
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(
            f"{folder} holds no rows of videos",
            hint=f"write some: mien video clip.mp4 --out {folder}",
        )
    return files


def _check_sources(sources: Sequence[SourceRows]) -> None:
    first: dict[str, SourceRows] = {}
    for source in sources:
        other = first.setdefault(source.name, source)
        if other is not source:
            raise DataError(
                f"{other.file} and {source.file} both hold rows of {source.name}",
                hint="a source has one file of rows in a folder; move the other one away",
            )
        if source.labels != sources[0].labels:
            raise DataError(
                f"{source.file} has the labels {', '.join(source.labels)}, {sources[0].file} has "
                f"{', '.join(sources[0].labels)}",
                hint="put rows of models with other labels into folders of their own",
            )


def _summary_path(file: Path) -> Path:
    return file.with_name(file.stem + ".summary.json")


def _load_file(file: Path) -> list[SourceRows]:
    table = load_rows([file])
    if table["source"].null_count:
        raise DataError(f"{file} has a row without a source", hint="write it with mien video")
    if not table.num_rows:
        # A video without a frame has no rows; its name stands in the summary.
        summary = _summary_path(file)
        return [_make(read_json(summary).get("source") or file.stem, file, table)] \
            if summary.exists() else []  # fmt: skip
    return [_make(name, file, rows) for name, rows in by_source(table)]


def _make(name: str, file: Path, table: Any) -> SourceRows:
    """Return the rows of one source as arrays."""
    import pyarrow.compute as pc

    labels = tuple(labels_of(table))
    times = np.unique(table["time_s"].to_numpy())
    step_s = float(np.median(np.diff(times))) if len(times) > 1 else DEFAULT_STEP_S
    faces = table.filter(pc.is_valid(table["track"]))
    faces = faces.sort_by([("track", "ascending"), ("time_s", "ascending")])

    def column(key: str) -> NDArray[np.float32]:
        return np.asarray(faces[key].to_numpy(), np.float32)

    places = [column(key) for key in ("x0", "y0", "x1", "y1")]
    return SourceRows(
        name=name,
        file=file,
        labels=labels,
        track_n=faces["track"].to_numpy().astype(np.int32),
        frame_n=faces["frame"].to_numpy().astype(np.int64),
        time_n=faces["time_s"].to_numpy().astype(np.float64),
        box_n4=np.stack(places, axis=1),
        score_n=column("score"),
        probs_nk=np.stack([column(f"p_{label}") for label in labels], axis=1),
        code_n=_codes(faces["label"], labels),
        step_s=step_s,
        end_s=float(times[-1]) + step_s if len(times) else 0.0,
        frames=int(pc.count_distinct(table["frame"]).as_py()),
    )


def _codes(column: Any, labels: Sequence[str]) -> NDArray[np.uint8]:
    """Return the code of each row's label."""
    import pyarrow as pa
    import pyarrow.compute as pc

    known = pa.array([*labels, UNSURE])
    found = pc.fill_null(pc.index_in(column, value_set=known), len(labels) + 1)
    return np.asarray(found.to_numpy(), np.uint8)


def _few(values: Sequence[object]) -> str:
    shown = ", ".join(map(str, values[:6]))
    return f"{shown} and {len(values) - 6} more" if len(values) > 6 else shown or "none"
