"""Readings over LSL, received by an inlet of the real library."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from mien.errors import ConfigError, MissingExtraError
from mien.types import FrameReading, TrackedFace
from mien.video.frame import Frame, FrameResult
from mien.video.sinks.lsl import ABOUT, LslOutlet

LABELS = ("happy", "neutral", "sad")


def face(track: int, label: str | None, p: tuple[float, float, float] | None) -> TrackedFace:
    return TrackedFace(
        track=track, box=(0.0, 0.0, 9.0, 9.0), score=0.9, origin="detected",
        quality="good" if p else "small", landmarks=None, raw=None,
        probabilities=None if p is None else dict(zip(LABELS, p, strict=True)),
        confidence=None if p is None else max(p), label=label,
    )  # fmt: skip


def result(number: int, *faces: TrackedFace) -> FrameResult:
    reading = FrameReading(
        source="camera", frame=number, pts=number, time_s=number / 25, faces=faces, width=9,
        height=9,
    )  # fmt: skip
    pixels = np.zeros((9, 9, 3), np.uint8)
    return FrameResult(Frame.of("camera", number, number / 25, pixels), reading)


FRAMES = (
    result(0),
    result(1, face(1, "happy", (0.7, 0.2, 0.1)), face(2, None, None)),
    result(2, face(1, "happy", (0.6, 0.3, 0.1))),
    result(3, face(1, "unsure", (0.4, 0.3, 0.3))),
)


def test_an_inlet_receives_every_face_and_change() -> None:
    pylsl = pytest.importorskip("pylsl", reason="pylsl is not installed")
    name = f"mien-test-{id(object())}"
    sink = LslOutlet(name, LABELS)
    sink.open()
    found = pylsl.resolve_byprop("name", name, timeout=10)
    labels = pylsl.resolve_byprop("name", f"{name}-labels", timeout=10)
    if not found or not labels:
        pytest.skip("this machine's network does not let LSL find streams")
    inlet, markers = pylsl.StreamInlet(found[0]), pylsl.StreamInlet(labels[0])
    inlet.open_stream(timeout=10)
    markers.open_stream(timeout=10)
    for frame in FRAMES:
        sink.write(frame)
    samples = [inlet.pull_sample(timeout=10) for _ in range(5)]
    changes = [markers.pull_sample(timeout=10) for _ in range(2)]
    nothing = [np.nan] * 3
    wanted = [
        [0, *[np.nan] * 7],
        [1, 0, 0.7, 0, 1, 0.7, 0.2, 0.1],
        [2, np.nan, np.nan, np.nan, 0, *nothing],
        [1, 0, 0.6, 0, 1, 0.6, 0.3, 0.1],
        [1, -1, 0.4, 1, 1, 0.4, 0.3, 0.3],
    ]
    np.testing.assert_array_equal([values for values, _ in samples], wanted)
    times = [at for _, at in samples]
    assert times == sorted(times)
    assert [values for values, _ in changes] == [["1: happy"], ["1: unsure"]]
    channel = inlet.info().desc().child("channels").child("channel")
    named = []
    for _ in range(len(ABOUT) + 3):
        named.append(channel.child_value("label"))
        channel = channel.next_sibling()
    assert named == [*ABOUT, "p_happy", "p_neutral", "p_sad"]
    sink.abort()


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="the name is empty"):
        LslOutlet(" ", LABELS)
    monkeypatch.setitem(sys.modules, "pylsl", None)
    with pytest.raises(MissingExtraError) as raised:
        LslOutlet("mien", LABELS)
    assert "lsl" in raised.value.hint
