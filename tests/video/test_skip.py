"""Frames that nobody looks at: not decoded where possible, and nothing else changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.video.clips import write_clip

from mien.imaging.boxes import overlap
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces
from mien.video.decode import read_file
from mien.video.frame import Frame, FrameResult
from mien.video.interpolate import place_between
from mien.video.people.collect import FaceCollector
from mien.video.plan import FrameJob, VideoSettings
from mien.video.quality import QualityGate
from mien.video.select import Selection
from mien.video.session import Session
from mien.video.sinks.base import Sink
from mien.video.skip import WARM_UP
from mien.video.sources import list_sources
from mien.video.track import Tracker

B_FRAMES = {"bf": "3", "x264-params": "b-adapt=0:scenecut=0", "g": "48"}
FRAMES = 110


def skipping(position: int = 0, **settings: Any) -> Selection:
    return Selection(looks_at=VideoSettings(**settings).looks_at(position))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("skip") / "b.mp4", FRAMES, options=B_FRAMES)


def same(one: Frame, other: Frame) -> bool:
    return (one.index, one.time_s, one.pts, one.size) == (
        other.index, other.time_s, other.pts, other.size,
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_skipped_frames_keep_number_time_and_size_and_the_others_their_pixels(
    tmp_path: Path, suffix: str
) -> None:
    clip = write_clip(tmp_path / f"b{suffix}", FRAMES, options=B_FRAMES)
    every = list(read_file(clip, Selection()))
    frames = list(read_file(clip, skipping()))
    assert len(frames) == len(every) == FRAMES
    assert all(same(*pair) for pair in zip(frames, every, strict=True))
    skipped = [frame.index for frame in frames if not frame.decoded]
    # Of each four frames, two are B frames that no other needs, at odd places; each even frame is
    # classified.
    assert len(skipped) > 0.8 * (FRAMES - WARM_UP - 8) / 2
    assert all(index % 2 for index in skipped)
    for frame, whole in zip(frames, every, strict=True):
        assert not frame.decoded or np.array_equal(frame.pixels, whole.pixels)
    with pytest.raises(RuntimeError, match="was not decoded"):
        frames[skipped[0]].pixels  # noqa: B018


def test_every_planned_frame_is_decoded_also_after_seeking(clip: Path) -> None:
    for start_s in (0.0, 1.23, 2.0):
        settings = VideoSettings(detect_every=5, read_every=3)
        selection = Selection(start_s, looks_at=settings.looks_at())
        chosen = list(selection.apply(read_file(clip, selection)))
        looked = [k for k, job in enumerate(settings.plan(chosen)) if job.detect or job.classify]
        assert looked == [k for k in range(len(chosen)) if k % 5 == 0 or k % 3 == 0]


def test_where_every_frame_is_looked_at_all_are_decoded(clip: Path) -> None:
    assert all(frame.decoded for frame in read_file(clip, skipping(read_every=1)))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("interlaced.mp4", "libx264",
         {**B_FRAMES, "flags": "+ilme+ildct", "x264-params": "tff=1:interlaced=1:b-adapt=0"}),
        ("references.mp4", "libx264", {"bf": "0"}),
        ("other.avi", "libx264", B_FRAMES),
        ("other.mkv", "mpeg4", {"bf": "2"}),
    ],
)  # fmt: skip
def test_what_cannot_be_skipped_is_decoded(
    tmp_path: Path, name: str, codec: str, options: dict[str, str]
) -> None:
    clip = write_clip(tmp_path / name, 70, codec=codec, options=options)
    every = list(read_file(clip, Selection()))
    frames = list(read_file(clip, skipping()))
    assert all(frame.decoded for frame in frames)
    assert all(same(*pair) for pair in zip(frames, every, strict=True))


class Keeper(Sink):
    """Keeps the results."""

    def __init__(self, needs_pixels: bool) -> None:
        self.needs_pixels = needs_pixels
        self.results: list[FrameResult] = []

    def write(self, result: FrameResult) -> None:
        self.results.append(result)


@pytest.mark.parametrize("needs", [False, True])
def test_a_session_gives_the_same_rows_and_the_pixels_that_its_sinks_need(
    clip: Path, needs: bool
) -> None:
    settings = VideoSettings(gate=QualityGate(min_side=0, min_sharpness=0))
    session = Session(FakeDetector([(4, 16, 40, 52)]), FakeClassifier(), settings)
    every = [r.reading for r in session.results(next(list_sources([clip])))]
    keepers = [Keeper(False), Keeper(needs)]
    session.run(next(list_sources([clip])), keepers)
    assert [r.reading for r in keepers[0].results] == every
    assert all(reading.faces for reading in every)
    assert all(r.frame.decoded for r in keepers[0].results) == needs


class OneFace:
    """A descriptor that knows one face only."""

    name, threshold, margin, same_track = "one", 0.9, 0.02, 0.95

    def embed(self, chips_nhwc: np.ndarray) -> np.ndarray:
        return np.tile(np.array([1, 0], np.float32), (len(chips_nhwc), 1))


def test_people_are_found_without_decoding_more(clip: Path) -> None:
    """Faces of detected frames are enough: as many frames are skipped, and the faces are equal."""
    found = []
    for needs in (False, True):
        keeper, collector = Keeper(needs), FaceCollector("b", OneFace())
        settings = VideoSettings(gate=QualityGate(min_side=0, min_sharpness=0))
        session = Session(FakeDetector([(4, 16, 40, 52)]), FakeClassifier(), settings)
        session.run(next(list_sources([clip])), [keeper, collector])
        assert all(r.frame.decoded for r in keeper.results) == needs
        found.append(collector.faces)
    (part,) = found[0]
    assert list(found[1]) == [part]
    assert found[0][part].chips == found[1][part].chips >= 2
    assert found[0][part].worth == pytest.approx(found[1][part].worth)


def test_a_frame_without_pixels_is_as_the_next_one_further_from_the_face() -> None:
    """A bright face that is there up to some frame: rows reach to the last frame that shows it."""
    face = np.array([[20, 20, 60, 60]], np.float32)

    def jobs(last: int, undecoded: set[int]) -> list[FrameJob]:
        made = []
        for index in range(7):
            pixels = np.full((80, 80, 3), 200 if index <= last else 30, np.uint8)
            frame = Frame.of("x", index, index / 30, pixels)
            if index in undecoded:
                frame = Frame.skipped("x", index, index / 30, (80, 80), None)
            made.append(FrameJob(frame))
        return made

    def crop(frame: Frame, box_xyxy: np.ndarray) -> np.ndarray:
        assert overlap(box_xyxy, face)[0] > 0.5
        return frame.pixels[20:60, 20:60, 0]

    def visible(last: int, undecoded: set[int]) -> list[int]:
        tracker = Tracker()
        found = Faces(face, np.ones(1, np.float32), None)
        tracker.update(found, -0.1)
        tracker.update(found, 0.0)
        made = jobs(last, undecoded)
        tracks = tracker.update(Faces(face[:0], found.scores_n[:0], None), 0.2)
        place_between(made[:6], made[6], tracks, crop)
        return [job.frame.index for job in made[1:6] if job.faces]

    assert visible(3, set()) == [1, 2, 3]
    assert visible(3, {1, 5}) == [1, 2, 3]
    assert visible(3, {3}) == [1, 2]  # frame 4 is without the face
    assert visible(4, {3}) == [1, 2, 3, 4]


def test_frames_found_to_be_interlaced_stop_the_skipping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where FFmpeg does not know it before the first frame."""
    monkeypatch.setattr("mien.video.skip._field_order", lambda codec: 0)
    options = {"flags": "+ilme+ildct", "x264-params": "tff=1:interlaced=1:b-adapt=0", "bf": "3"}
    clip = write_clip(tmp_path / "interlaced.mp4", FRAMES, options=options)
    assert all(frame.decoded for frame in read_file(clip, skipping()))
