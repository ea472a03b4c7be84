"""Every sink goes through the same checks: it writes, aborts cleanly, and resumes or refuses to."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from tests.video.clips import write_clip
from tests.video.test_video import OPEN
from tests.video.test_video_resume import LABELS, RUN, Brightness, Squares, frames, leave_part

from mien import ConfigError, Reader, SourceError
from mien.video.anonymize import AnonymizedSinks
from mien.video.frame import Frame, FrameResult
from mien.video.live import LiveWindow
from mien.video.plan import VideoSettings
from mien.video.select import Selection
from mien.video.session import Session
from mien.video.sinks.base import Sink, StopSession
from mien.video.sinks.clip import AnnotatedVideo
from mien.video.sinks.lsl import LslOutlet
from mien.video.sinks.outputs import OutputFolder, OutputOptions
from mien.video.sinks.pages import SummaryFile, TimelinePages
from mien.video.sinks.resume import ResumePoint
from mien.video.sinks.row_file import RowFile
from mien.video.sinks.row_stream import RowStream
from mien.video.sinks.rows import columns
from mien.video.sources import Source, list_sources
from mien.video.table import TableSink

SETTINGS = VideoSettings(gate=OPEN, lost_s=0.3, smooth_s=0.05)


class FakeView:
    """Records: r at its first frame."""

    def __init__(self) -> None:
        self.keys = ["r"]

    def show(self, pixels_hwc: np.ndarray, words: str) -> None:
        """Show nothing."""

    def pressed(self) -> list[str]:
        keys, self.keys = self.keys, []
        return keys


@dataclass(frozen=True)
class Case:
    """A sink, and the files it leaves.

    Attributes:
        make: returns the sink for a folder; `keep` is of the rows of an earlier run.
        files: patterns of the files that it leaves in the folder.
        resumable: whether it can resume.
        keeps: patterns of files that an aborted run may leave: finished recordings, rows.
    """

    name: str
    make: Callable[[Path, int], Sink]
    files: tuple[str, ...] = ()
    resumable: bool = False
    keeps: tuple[str, ...] = ()


def timeline(folder: Path, images: bool) -> TimelinePages:
    svg, page = folder / "clip.timeline.svg", folder / "clip.html"
    return TimelinePages(LABELS, images=images, svg_path=svg, page_path=page)


def outlet(name: str) -> LslOutlet:
    pytest.importorskip("pylsl", reason="pylsl is not installed")
    return LslOutlet(name, LABELS)


PAGES = ("clip.timeline.svg", "clip.html")
CASES = [
    Case("csv", lambda f, keep: RowFile(f / "clip", "csv", LABELS, keep=keep), ("clip.csv",),
         True, ("clip.csv.part",)),
    Case("json", lambda f, _: RowFile(f / "clip", "json", LABELS), ("clip.jsonl",),
         True, ("clip.jsonl.part",)),
    Case("parquet", lambda f, _: RowFile(f / "clip", "parquet", LABELS), ("clip.parquet",),
         True, ("clip.jsonl.part",)),
    Case("summary", lambda f, _: SummaryFile(f / "clip.summary.json"), ("clip.summary.json",),
         True),
    Case("annotated video", lambda f, _: AnnotatedVideo(f / "clip.mp4"), ("clip.mp4",)),
    Case("pages", lambda f, _: timeline(f, True), PAGES),
    Case("pages without images", lambda f, _: timeline(f, False), PAGES, True),
    Case("anonymized video", lambda f, _: AnonymizedSinks([AnnotatedVideo(f / "clip.mp4")]),
         ("clip.mp4",)),
    Case("anonymized pages", lambda f, _: AnonymizedSinks([timeline(f, False)]), PAGES, True),
    Case("stream", lambda _, __: RowStream(io.StringIO(), "csv", LABELS)),
    Case("table", lambda _, __: TableSink(LABELS)),
    Case("lsl", lambda f, _: outlet(f"mien-{f.name}")),
    Case("live window", lambda f, _: LiveWindow(FakeView(), f), ("recording-*.mp4",),
         keeps=("recording-*.mp4",)),
]  # fmt: skip
every_sink = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class FailsAt(Sink):
    """Fails at a frame, or at the end."""

    def __init__(self, frame: int | None) -> None:
        self._frame = frame

    def write(self, result: FrameResult) -> None:
        if result.frame.index == self._frame:
            raise RuntimeError("another sink failed")

    def close(self, summary: object) -> None:
        if self._frame is None:
            raise RuntimeError("another sink failed")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"g": "24", "crf": "10"}
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", frames(120), options=options)


def session() -> Session:
    return Reader(Brightness(), detector=Squares()).session(settings=SETTINGS)


def source(clip: Path) -> Source:
    return next(list_sources([clip]))


def broken_after(clip: Path, count: int) -> Source:
    whole = source(clip)

    def read(selection: Selection) -> Iterator[Frame]:
        for frame in whole.read(selection):
            if frame.index == count:
                raise SourceError("broke off", hint="")
            yield frame

    return replace(whole, read=read)


def leftovers(folder: Path, allowed: Sequence[str]) -> list[str]:
    found = folder.rglob("*") if folder.exists() else []
    return [p.name for p in found if not any(p.match(pattern) for pattern in allowed)]


@every_sink
def test_it_writes(case: Case, clip: Path, tmp_path: Path) -> None:
    sink = case.make(tmp_path, 0)
    session().run(source(clip), [sink])
    for pattern in case.files:
        [made] = tmp_path.glob(pattern)
        assert made.stat().st_size > 100
    assert leftovers(tmp_path, case.files) == [], "no part is left"
    if isinstance(sink, TableSink):
        assert sink.table.arrow.column_names == columns(LABELS)
        assert len(sink.table) >= 120


@every_sink
@pytest.mark.parametrize("frame", [0, 60])
def test_an_error_leaves_no_half_written_file(
    case: Case, clip: Path, tmp_path: Path, frame: int
) -> None:
    with pytest.raises(RuntimeError, match="another sink failed"):
        session().run(source(clip), [case.make(tmp_path, 0), FailsAt(frame)])
    assert leftovers(tmp_path, case.keeps) == []


@every_sink
def test_it_can_be_aborted_after_it_was_closed(case: Case, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="another sink failed"):
        session().run(source(clip), [case.make(tmp_path, 0), FailsAt(None)])
    assert leftovers(tmp_path, case.files) == [], "what was finished is whole"


@every_sink
def test_a_source_without_a_frame_leaves_nothing(case: Case, clip: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="broke off"):
        session().run(broken_after(clip, 0), [case.make(tmp_path, 0)])
    assert leftovers(tmp_path, ()) == []


@every_sink
def test_the_good_part_of_a_source_that_breaks_off_is_kept(
    case: Case, clip: Path, tmp_path: Path
) -> None:
    summary = session().run(broken_after(clip, 50), [case.make(tmp_path, 0)])
    assert summary.error is not None
    assert summary.error.message == summary.to_dict()["error"] == "broke off"
    assert summary.frames == 50
    assert all(list(tmp_path.glob(pattern)) for pattern in case.files)


def resume_point(clip: Path, tmp_path: Path) -> ResumePoint:
    """Return where to resume, for rows cut off at three quarters."""
    outputs = OutputFolder(tmp_path / "whole", OutputOptions(), RUN)
    one, path = source(clip), tmp_path / "whole" / "clip"
    session().run(one, outputs.sinks(one, path, LABELS))
    rows = (tmp_path / "whole" / "clip.csv").read_bytes()
    leave_part(clip, tmp_path / "out", rows[: len(rows) * 3 // 4])
    outputs = OutputFolder(tmp_path / "out", OutputOptions(), RUN)
    point = outputs.resume_point(one, tmp_path / "out" / "clip", SETTINGS, LABELS)
    assert point is not None
    return point


@every_sink
def test_it_resumes_or_says_that_it_cannot(case: Case, clip: Path, tmp_path: Path) -> None:
    point = resume_point(clip, tmp_path)
    folder = tmp_path / "out"
    sink = case.make(folder, point.keep)
    assert sink.resumable == case.resumable
    if not case.resumable:
        with pytest.raises(ConfigError, match=f"{type(sink).__name__} cannot resume"):
            session().run(source(clip), [sink], point)
        assert leftovers(folder, ("clip.csv.part", ".clip.csv.part.json")) == []
        return
    summary = session().run(source(clip), [sink], point)
    assert summary.frames == 120, "earlier frames are replayed, and none is counted twice"
    assert all((folder / name).stat().st_size > 100 for name in case.files)
    if case.name == "csv":
        assert (folder / "clip.csv").read_bytes() == (tmp_path / "whole/clip.csv").read_bytes()
    elif case.name == "summary":
        found, whole = (
            json.loads((tmp_path / f / "clip.summary.json").read_text()) for f in ("out", "whole")
        )
        assert [t["timeline"] for t in found["tracks"]] == [t["timeline"] for t in whole["tracks"]]
    elif "pages" in case.name:
        other = tmp_path / "uninterrupted"
        other.mkdir()
        session().run(source(clip), [timeline(other, False)])
        texts = [(f / "clip.timeline.svg").read_text() for f in (folder, other)]
        spans, tracks = (
            [re.findall(pattern, text) for text in texts]
            for pattern in (r'data-(?:begin|end)="[^"]*"', r">track \d+<")
        )
        assert spans[0] == spans[1]
        assert tracks[0] == tracks[1] != []


def test_a_sink_may_end_the_session_early(clip: Path, tmp_path: Path) -> None:
    class StopsAt(Sink):
        def write(self, result: FrameResult) -> None:
            if result.frame.index == 9:
                raise StopSession(SourceError("long enough", hint=""))

    summary = session().run(source(clip), [RowFile(tmp_path / "clip", "csv", LABELS), StopsAt()])
    assert summary.to_dict()["error"] == "long enough"
    text = (tmp_path / "clip.csv").read_text()
    assert {line.split(",")[1] for line in text.splitlines()[1:]} == {str(k) for k in range(10)}


def test_sinks_open_in_order_and_only_after_the_replay(clip: Path, tmp_path: Path) -> None:
    calls: list[str] = []

    class Noting(Sink):
        resumable = True

        def replay(self, reading: object) -> None:
            calls.append("replay")

        def open(self) -> None:
            calls.append("open")

        def write(self, result: FrameResult) -> None:
            calls.append("write")

        def close(self, summary: object) -> None:
            calls.append("close")

        def abort(self) -> None:
            calls.append("abort")

    session().run(source(clip), [Noting()], resume_point(clip, tmp_path))
    assert list(dict.fromkeys(calls)) == ["replay", "open", "write", "close"]
    assert calls.count("replay") + calls.count("write") == 120
