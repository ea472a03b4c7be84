"""What a summary says must not hang on the frame rate, the video's own or the one it is read at."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.video.test_video import OPEN

from mien import Reader, SourceError
from mien.imaging.crop import WHOLE
from mien.labels import THREE
from mien.report.palette import LABELS, LABELS_ON_DARK
from mien.testing import FakeClassifier
from mien.types import Faces, FrameReading
from mien.video.frame import Frame
from mien.video.pace import Pace
from mien.video.plan import VideoSettings
from mien.video.select import Selection
from mien.video.sinks.lanes import Lanes
from mien.video.sinks.report import page
from mien.video.sinks.timeline import LEFT, RIGHT, WIDTH, Timeline
from mien.video.sources import Source
from mien.video.summary import Summary

RATES = [0.1, 0.5, 1.0, 1.5, 2.0, 5.0, 12.0, 25.0, 30_000 / 1001, 60.0, 120.0, 240.0]
LEVELS = {"happy": 230, "neutral": 170, "sad": 110}
SIDE, BACKGROUND = 40, 20
TEXTURES = np.random.default_rng(0).integers(-12, 13, (3, SIDE, SIDE))


@dataclass(frozen=True)
class Actor:
    """Somebody in a place of their own: from when to when, and what they show from when on."""

    place: int
    begin: float
    end: float
    shows: tuple[tuple[float, str], ...]

    def shown(self, time_s: float) -> str | None:
        if not self.begin <= time_s < self.end:
            return None
        return [label for since, label in self.shows if since <= time_s][-1]


@dataclass(frozen=True)
class Scene:
    actors: tuple[Actor, ...]
    missed: tuple[tuple[float, float], ...] = field(default=())
    """Where the detector finds nobody."""

    def pixels(self, time_s: float) -> NDArray[np.uint8]:
        pixels = np.full((SIDE + 8, 3 * (SIDE + 20), 3), BACKGROUND, np.uint8)
        for actor in self.actors:
            label = actor.shown(time_s)
            if label is not None:
                left = actor.place * (SIDE + 20)
                face = (LEVELS[label] + TEXTURES[actor.place])[..., None]
                pixels[4 : 4 + SIDE, left : left + SIDE] = face
        pixels[-1] = any(a <= time_s < b for a, b in self.missed)
        return pixels


class Bright:
    """Finds what is bright in each of the three places."""

    name, framing = "bright", WHOLE

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        lefts = [p * (SIDE + 20) for p in range(3)]
        boxes = [
            (x, 4, x + SIDE, 4 + SIDE) for x in lefts
            if image_hwc[10, x + 10, 0] > 60 and not image_hwc[-1, 0, 0]
        ]  # fmt: skip
        return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.ones(len(boxes), np.float32))


class Levels(FakeClassifier):
    """Reads the expression off the brightness."""

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        mean = crops_nhw.astype(np.float32).mean(axis=(1, 2))
        near = [-np.abs(mean - LEVELS[label]) / 15 for label in THREE]
        return np.stack(near, axis=1).astype(np.float32)


def source(scene: Scene, times: list[float], broken: bool = False) -> Source:
    def read(_: Selection) -> Iterator[Frame]:
        for index, time_s in enumerate(times):
            pixels = scene.pixels(time_s)
            yield Frame.of("scene", index, time_s, pixels)
        if broken:
            raise SourceError("broke off", hint="")

    return Source("scene", "video", read)


def steps(rate: float, seconds: float) -> list[float]:
    return [k / rate for k in range(max(round(seconds * rate), 1))]


def read(scene: Scene, times: list[float], **selection: Any) -> list[FrameReading]:
    reader = Reader(Levels(), detector=Bright())
    chosen = Selection(**selection)
    session = reader.session(selection=chosen, settings=VideoSettings(gate=OPEN))
    return [result.reading for result in session.results(source(scene, times))]


def summary(readings: list[FrameReading], segments: str = "labels") -> dict[str, Any]:
    added = Summary(THREE, segments)
    for reading in readings:
        added.add(reading)
    return added.to_dict()


STEADY = Scene((Actor(0, 0, 1e9, ((0, "happy"),)),))


def is_steady(found: dict[str, Any], seconds: float) -> None:
    [track] = found["tracks"]
    assert track["seen_s"] == pytest.approx(seconds, abs=0.002)
    assert (track["first_s"], track["last_s"]) == pytest.approx((0, seconds), abs=0.002)
    assert track["fraction_of_time"] == {"happy": 1.0}
    assert track["episodes"] == {"happy": {"count": 1, "mean_s": pytest.approx(seconds, abs=0.02)}}
    assert track["transitions"] == {}
    assert found["end_s"] == pytest.approx(seconds, abs=0.002)


@pytest.mark.parametrize("segments", ["labels", "viterbi"])
@pytest.mark.parametrize("rate", RATES)
def test_a_steady_face_is_one_episode_at_its_own_rate(rate: float, segments: str) -> None:
    times = steps(rate, max(6, 4 / rate))
    is_steady(summary(read(STEADY, times), segments), len(times) / rate)


@pytest.mark.parametrize("segments", ["labels", "viterbi"])
@pytest.mark.parametrize("fps", [0.03, 0.1, 0.3, 0.7, 1, 1.5, 4, 7, 11, 29])
def test_a_steady_face_is_one_episode_at_any_sampling(fps: float, segments: str) -> None:
    is_steady(summary(read(STEADY, steps(30, 15), fps=fps), segments), 15.0)


@pytest.mark.parametrize("every", [2, 7, 15, 30, 300, 449])
def test_a_steady_face_is_one_episode_at_every_nth(every: int) -> None:
    is_steady(summary(read(STEADY, steps(30, 15), every=every)), 15.0)


def story(unit: float) -> Scene:
    """Somebody who changes twice; another who comes, goes, and is followed by a third."""
    return Scene(
        (
            Actor(0, 0, 8 * unit, ((0, "happy"), (2.1 * unit, "sad"), (4.2 * unit, "happy"))),
            Actor(1, 1.13 * unit, 3.3 * unit, ((0, "neutral"),)),
            Actor(2, 5.17 * unit, 6.9 * unit, ((0, "sad"), (6.05 * unit, "neutral"))),
        )
    )


def is_story(found: dict[str, Any], unit: float, interval: float) -> None:
    one, two, three = found["tracks"]
    error = interval + 0.2  # of each moment; smoothing shows a change a little later
    assert one["seen_s"] == pytest.approx(8 * unit, abs=0.01 + interval)
    assert two["seen_s"] == pytest.approx(2.17 * unit, abs=error)
    assert three["seen_s"] == pytest.approx(1.73 * unit, abs=error)
    assert (two["first_s"], two["last_s"]) == pytest.approx((1.13 * unit, 3.3 * unit), abs=error)
    assert one["fraction_of_time"]["sad"] == pytest.approx(2.1 / 8, abs=2 * error / (8 * unit))
    assert one["transitions"] == {"happy to sad": 1, "sad to happy": 1}
    assert [e["label"] for e in one["timeline"]] == ["happy", "sad", "happy"]
    assert [e["label"] for e in two["timeline"]] == ["neutral"]
    assert [e["label"] for e in three["timeline"]] == ["sad", "neutral"]
    begins = [e["start_s"] for e in one["timeline"]]
    assert begins == pytest.approx([0, 2.1 * unit, 4.2 * unit], abs=error)
    ends = [(e["start_s"], e["end_s"]) for e in one["timeline"]]
    assert all(a[1] == b[0] for a, b in pairwise(ends)), "without a hole"


@settings(max_examples=40, deadline=None)
@given(st.floats(-1, np.log10(240)).map(lambda x: 10**x))
def test_tracks_and_changes_are_the_same_at_any_rate(rate: float) -> None:
    unit = max(1.5, 3 / rate)
    readings = read(story(unit), steps(rate, 8 * unit))
    is_story(summary(readings), unit, 1 / rate)


@settings(max_examples=30, deadline=None)
@given(st.floats(-1, np.log10(30)).map(lambda x: 10**x), st.floats(1, 3))
def test_tracks_and_changes_are_the_same_at_any_sampling(fps: float, times: float) -> None:
    native = max(fps * times, 2)
    unit = max(1.5, 3.2 / fps)
    readings = read(story(unit), steps(native, 8 * unit), fps=fps)
    is_story(summary(readings), unit, 1 / fps + 1 / native)


@pytest.mark.parametrize("rate", RATES)
def test_one_missed_detection_ends_nothing(rate: float) -> None:
    step = max(1 / rate, 0.2)
    missed = (4 * step + 0.5 / rate, 5 * step + 0.5 / rate)
    scene = Scene(STEADY.actors, (missed,))
    found = summary(read(scene, steps(rate, 12 * step)))
    [track] = found["tracks"]
    assert track["episodes"]["happy"]["count"] == 1
    assert 10 * step < track["seen_s"] < 12.01 * step, "nobody is claimed to be seen meanwhile"


@pytest.mark.parametrize("rate", RATES)
def test_a_long_absence_is_two_tracks(rate: float) -> None:
    away = max(2.0, 4 / rate)
    scene = Scene(STEADY.actors, ((away, 2 * away),))
    found = summary(read(scene, steps(rate, 3 * away)))
    assert [p["track"] for p in found["tracks"]] == [1, 2]
    error = 1 / rate + 0.25
    assert [p["seen_s"] for p in found["tracks"]] == pytest.approx([away, away], abs=error)


@pytest.mark.parametrize("rate", RATES)
def test_a_jump_of_the_clock_is_not_time_seen(rate: float) -> None:
    times = steps(rate, 10 / rate)
    times += [t + 3 * 3600 for t in times]
    found = summary(read(STEADY, times))
    assert sum(p["seen_s"] for p in found["tracks"]) <= 20 / rate + max(0.5, 2.5 / rate)


def test_rows_rise_in_time_whatever_the_clock_says() -> None:
    times = [0.0, 0.1, 0.1, 0.1, 0.05, 0.2, -3.0, 0.3, 0.3]
    selections: list[dict[str, Any]] = [{}, {"every": 2}, {"end_s": 0.25}]
    for selection in selections:
        found = [round(r.time_s, 6) for r in read(STEADY, times, **selection)]
        assert all(a < b for a, b in pairwise(found)), found


def test_each_frame_says_until_when_it_stands() -> None:
    def until(**selection: Any) -> list[float | None]:
        return [r.until_s for r in read(STEADY, steps(10, 1.0), **selection)]

    assert until() == pytest.approx([k / 10 for k in range(1, 11)])
    assert until(fps=3) == pytest.approx([0.4, 0.7, 1.0])
    assert until(every=8) == pytest.approx([0.8, 1.0])
    assert until(every=8, end_s=0.85) == pytest.approx([0.8, 0.85])
    one = read(STEADY, [0.0])
    assert [r.until_s for r in one] == [None]
    reader = Reader(Levels(), detector=Bright())
    session = reader.session(settings=VideoSettings(gate=OPEN))
    cut = session.results(source(STEADY, steps(10, 0.5), broken=True))
    ends = []
    with pytest.raises(SourceError, match="broke off"):
        for result in cut:
            ends.append(result.reading.until_s)
    assert ends == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5]), "and none is lost where it breaks"


def test_a_single_frame_has_its_expression() -> None:
    found = summary(read(STEADY, [0.0]))
    assert (
        found["tracks"][0]["fraction_of_time"] == found["fraction_of_face_time"] == {"happy": 1.0}
    )
    assert found["tracks"][0]["mean_valence"] == found["mean_valence"] > 0.5
    assert found["tracks"][0]["seen_s"] == found["end_s"] == 0.0


def test_a_pause_among_regular_frames_is_cut_short_and_slow_frames_are_not() -> None:
    def seconds(times: list[float], end_s: float | None = None) -> list[float]:
        pace: Pace[int] = Pace()
        standing = [s for k, t in enumerate(times) for s in pace.add(t, k)]
        standing += pace.finish(end_s)
        assert [s.item for s in standing] == list(range(len(times)))
        assert list(pace.finish(end_s)) == [], "no frame is given twice"
        return [s.seconds for s in standing]

    assert seconds([0, 10, 20, 30]) == [10, 10, 10, 10]
    assert seconds([0, 10], 12.0) == [10, 2]
    assert seconds([0.0], 12.0) == [12]
    assert seconds([0.0]) == [0]
    smooth = [k / 10 for k in range(8)]
    assert seconds([*smooth, 5.0, 5.1]) == pytest.approx([*[0.1] * 7, 0.5, 0.1, 0.1])
    slower = [*smooth, *(0.7 + k for k in range(1, 8))]
    assert seconds(slower) == pytest.approx([*[0.1] * 7, *[1.0] * 8])


@pytest.mark.parametrize("last", range(19, 37))
@pytest.mark.parametrize("following", [None, 1])
def test_up_to_a_cut_every_face_has_its_row(last: int, following: int | None) -> None:
    """Wherever between two detections it falls, and none has one after it."""
    cut = last / 30
    actors = [Actor(0, 0, cut, ((0, "happy"),))]
    if following is not None:
        actors.append(Actor(following, cut, 9, ((0, "sad"),)))
    readings = read(Scene(tuple(actors)), steps(30, 2.0))
    tracks = [[face.track for face in r.faces] for r in readings]
    after = [] if following is None else [2]
    assert tracks == [[1]] * last + [after] * (60 - last)


def polygons(svg: str) -> list[tuple[float, float]]:
    """From where to where each area reaches."""
    found = []
    for points in re.findall(r'<polygon points="([^"]+)"', svg):
        xs = [float(point.split(",")[0]) for point in points.split()]
        found.append((min(xs), max(xs)))
    return found


def test_the_timeline_has_the_labels_colours_in_light_and_dark() -> None:
    timeline = Timeline(THREE, images=False)
    for reading in read(STEADY, steps(10, 1)):
        timeline.append(Frame.without_pixels(reading), reading)
    svg = timeline.svg("steady")
    for number, label in enumerate(THREE):
        assert f".fill{number}{{fill:{LABELS[label]}}}" in svg
        dark = f"(prefers-color-scheme:dark){{.fill{number}{{fill:{LABELS_ON_DARK[label]}}}"
        assert (dark in svg) == (LABELS[label] != LABELS_ON_DARK[label])
        # One in the legend, one area.
        assert svg.count(f'class="fill{number}"') == 2
    assert "sad" in THREE  # whose color differs between the two


@pytest.mark.parametrize("rate", RATES)
def test_the_timeline_is_drawn_without_holes(rate: float) -> None:
    times = steps(rate, max(6, 4 / rate))
    lanes = Lanes(THREE)
    timeline = Timeline(THREE, images=False, levels=lanes)
    readings = read(STEADY, times)
    for reading in readings:
        timeline.append(Frame.without_pixels(reading), reading)
    svg = timeline.svg("steady")
    assert polygons(svg) == [pytest.approx((LEFT, WIDTH - RIGHT), abs=0.2)] * 3
    assert timeline.svg("steady") == svg
    text = page(summary(readings), THREE, svg, lanes, None)
    frames = "1 frame," if len(times) == 1 else f"{len(times):,} frames,"
    assert frames in text
    assert "1 track," in text
    assert all(f"<th>{name}</th>" in text for name in (*THREE, "unsure", "unread"))
