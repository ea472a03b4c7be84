"""Videos on an engine to a dataset of rows: read `read_videos_on` first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import SourceError
from mien.imaging.pose import HeadPose
from mien.scale.dataset import Finished, RowDataset
from mien.scale.mapping import map_items
from mien.scale.run import describe_run
from mien.scale.split import VideoPart, cut_video, join_parts, read_part
from mien.types import FrameReading, TrackedFace
from mien.video.sinks.rows import arrow_schema, rows
from mien.video.summary import Summary

if TYPE_CHECKING:
    from mien.scale.engine import Engine
    from mien.scale.mapping import Progress
    from mien.video.session import Session

SPLIT_S = 300.0
"""Seconds of a part of a long video: the seconds that two parts have in common are 2% of it."""


@dataclass(frozen=True, slots=True)
class CutVideo:
    """An item: a video whose parts are asked for."""

    video: int
    source: str


@dataclass(frozen=True, slots=True)
class MakeVideoWorker:
    """Makes what cuts and reads videos in a worker.

    Attributes:
        session: pickled with its models' content, so that all machines have the same.
        split_s: seconds of a part.
    """

    session: Session
    split_s: float

    def __call__(self) -> Callable[[CutVideo | VideoPart], Any]:
        """Return a function from a video to its parts, and from a part to its frames."""

        def work(item: CutVideo | VideoPart) -> Any:
            if isinstance(item, CutVideo):
                return cut_video(item.video, item.source, self.session, self.split_s)
            readings, error = read_part(self.session, item)
            failure = None if error is None else (error.message, error.hint)
            return [to_json(reading) for reading in readings], failure

        return work


def read_videos_on(  # noqa: PLR0913  (each is a setting of its own, by name)
    engine: Engine,
    session: Session,
    videos: Sequence[str],
    out: Path,
    *,
    split_seconds: float = SPLIT_S,
    model_sha256: str = "",
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Read videos on an engine; write their rows as a dataset and return its manifest.

    The rows are those of `mien video`, and the summaries are in a file of their own. Videos that
    could not be read to their end are listed in the manifest, with the rows of their good part.

    Args:
        engine: not opened yet; it is closed at the end.
        session: how videos are read.
        videos: paths.
        out: folder of the dataset.
        split_seconds: long videos are read in parts of so many seconds; 0 reads each in one.
        model_sha256: of the model's file, for the manifest.
        resume: continue an interrupted run; nothing is read twice.
        progress: progress callback; it counts parts.

    Raises:
        ClusterError: see `map_items`.
        ConfigError, SourceError, WriteError, MissingExtraError: see `RowDataset`.
    """
    labels = session.labels
    settings = {
        "detector": session.detector.name, "video": asdict(session.settings),
        "selection": asdict(session.selection), "segments": session.segments,
        "split_seconds": split_seconds,
    }  # fmt: skip
    sources = [(video, Path(video)) for video in videos]
    run = describe_run("videos", session.classifier.info, model_sha256, settings, sources)
    flow = _Videos(session, videos)
    # The sizes are filled in once the videos are cut; until then nothing is known to be complete.
    dataset = RowDataset(out, run, flow.sizes, arrow_schema(labels), flow.finish, resume)
    if dataset.is_complete:
        return dataset.complete()
    try:
        engine.open(MakeVideoWorker(session, split_seconds))
        flow.cut(engine, split_seconds)
        with dataset:
            missing = [part for part in flow.parts if not dataset.has(part.video, part.part)]
            for outcome in map_items(engine, missing, progress=progress):
                part: Any = outcome.item
                value = {"frames": outcome.value[0], "failure": outcome.value[1]} if (
                    not outcome.error
                ) else {"error": outcome.error, "attempts": outcome.attempts}  # fmt: skip
                dataset.add(part.video, {part.part: value})
            return dataset.complete()
    finally:
        engine.close()


class _Videos:
    """The videos of a run, their parts, and what their records amount to."""

    def __init__(self, session: Session, videos: Sequence[str]) -> None:
        self._session, self._videos = session, videos
        self.sizes = [1] * len(videos)
        self._parts: dict[int, list[VideoPart]] = {
            number: [VideoPart(number, video)] for number, video in enumerate(videos)
        }

    def cut(self, engine: Engine, split_s: float) -> None:
        """Find out the parts of all videos; one that cannot be looked at is left in one part."""
        if split_s <= 0:
            return
        items = [CutVideo(number, video) for number, video in enumerate(self._videos)]
        for outcome in map_items(engine, items):
            if not outcome.error:
                parts: Any = outcome.value
                self._parts[outcome.item.video] = parts
                self.sizes[outcome.item.video] = len(parts)

    @property
    def parts(self) -> list[VideoPart]:
        """All parts: those of the longest videos first, so that none is left alone at the end."""
        by_length = sorted(self._parts.values(), key=len, reverse=True)
        return [part for parts in by_length for part in parts]

    def finish(self, segment: int, records: Sequence[dict[str, Any]]) -> Finished:
        source, labels = self._videos[segment], self._session.labels
        good: list[tuple[VideoPart, list[FrameReading]]] = []
        failure: dict[str, Any] = {}
        for part, record in zip(self._parts[segment], records, strict=True):
            if "frames" in record:
                good.append((part, [from_json(values) for values in record["frames"]]))
            if record.get("failure") or "error" in record:
                failure = _failure(source, record)
                break  # what comes after a gap could not be joined
        summary = Summary(labels, self._session.segments)
        summary.source = source
        found: list[dict[str, Any]] = []
        try:
            for reading in join_parts(good, labels):
                summary.add(reading)
                found += rows(reading, labels)
        except SourceError as error:
            failure = {"source": source, "error": f"{error.message}; {error.hint}", "attempts": 1}
        if failure and summary.frames:
            summary.error = SourceError(failure["error"], hint="")
        counts = {
            "videos": 1, "frames": summary.frames, "unreadable": bool(failure),
            "crashed": failure.get("attempts", 1) > 1,
            "without_a_face": not failure and not summary.has_faces,
        }  # fmt: skip
        return Finished(
            [(source, found)] if found else [],
            [failure] if failure else [],
            [summary.to_dict()] if summary.frames else [],
            {name: int(number) for name, number in counts.items()},
        )


def _failure(source: str, record: dict[str, Any]) -> dict[str, Any]:
    if "error" in record:
        attempts = record["attempts"]
        error = f"{source} was given up after {attempts} attempts: {record['error']}"
        return {"source": source, "error": error, "attempts": attempts}
    message, hint = record["failure"]
    return {"source": source, "error": f"{message}; {hint}", "attempts": 1}


_FACE = tuple(item.name for item in fields(TrackedFace))
_FRAME = tuple(item.name for item in fields(FrameReading) if item.name != "faces")


def to_json(reading: FrameReading) -> list[Any]:
    """Return a frame as JSON types, exactly; see `from_json`."""
    faces = [[getattr(face, name) for name in _FACE] for face in reading.faces]
    return [[getattr(reading, name) for name in _FRAME], faces]


def from_json(values: Sequence[Any]) -> FrameReading:
    """Return the frame that `to_json` was given; JSON has no tuples."""
    about, faces = values
    made = []
    for face in faces:
        own = dict(zip(_FACE, face, strict=True))
        marks = own["landmarks"]
        own["box"] = tuple(own["box"])
        own["landmarks"] = None if marks is None else tuple(tuple(point) for point in marks)
        own["pose"] = None if own["pose"] is None else HeadPose(*own["pose"])
        made.append(TrackedFace(**own))
    return FrameReading(**dict(zip(_FRAME, about, strict=True)), faces=tuple(made))
