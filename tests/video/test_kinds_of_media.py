"""Kinds of media: what mien reads of each, frame by frame, beside FFmpeg's own decoder.

Each row is a container, a codec and one way to be odd. Times, sizes and pixels must be those of
FFmpeg's decoder and filters; a part must be the end of the whole; and the same readings must come
through the file, a pipe of raw frames and an iterable of arrays.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.video.media import (
    HEIGHT,
    WIDTH,
    animation,
    decoded,
    encode,
    image,
    joined,
    matrix,
    remux,
)

from mien import Reader, SourceError
from mien.testing import FakeClassifier, FakeDetector
from mien.types import FrameReading
from mien.video.frame import Frame
from mien.video.plan import VideoSettings
from mien.video.quality import QualityGate
from mien.video.select import Selection
from mien.video.sources import RawFormat, list_sources, raw_source

Make = Callable[[Path], Path]
# Unsmoothed: a container's milliseconds are not a pipe's thirtieths, which smoothing would show.
OPEN = VideoSettings(
    gate=QualityGate(min_side=0, min_sharpness=0, max_yaw=0, min_inside=0), smooth="none"
)
SIDE = f"{HEIGHT}x{WIDTH}"


@dataclass(frozen=True)
class Kind:
    """A row of the table.

    Attributes:
        name: container, codec, what is odd.
        make: writes it into a folder.
        filters: FFmpeg's, that display it.
        size: as displayed.
        times: of the frames in seconds; None where FFmpeg's timestamps are right.
        step: of the times, where all are even.
        frames: how many there are; None as many as FFmpeg decodes.
        note: words of what is said about it.
        error: words of the error after its good part.
        loss: mean difference in pixels that scaling or another conversion may make.
    """

    name: str
    make: Make
    filters: str = ""
    size: tuple[int, int] = (WIDTH, HEIGHT)
    times: tuple[float, ...] | None = None
    step: float | None = None
    frames: int | None = 8
    note: str | None = None
    error: str | None = None
    loss: float = 0.0


def clip(name: str, codec: str = "libx264", **options: Any) -> Make:
    return lambda folder: encode(folder / name, codec, **options)


def even(step: float, count: int = 8, first: float = 0.0) -> tuple[float, ...]:
    return tuple(first + step * k for k in range(count))


def restarted(folder: Path, suffix: str, second_s: int = 0, **options: Any) -> Path:
    parts = [
        encode(folder / f"{k}{suffix}", start_s=s, **options) for k, s in ((0, 0), (1, second_s))
    ]
    return joined(folder / f"joined{suffix}", *parts)


def trimmed(folder: Path) -> Path:
    """An edit list that begins at the fourth frame and shows four."""
    path = encode(folder / "edit.mp4", rate=25)
    content = bytearray(path.read_bytes())
    at = content.index(b"elst") + 12
    scale = struct.unpack(">I", content[content.index(b"mvhd") + 16 :][:4])[0]
    media = struct.unpack(">I", content[content.index(b"mdhd") + 16 :][:4])[0]
    content[at : at + 8] = struct.pack(">II", 4 * scale // 25, 3 * media // 25)
    path.write_bytes(content)
    return path


def stretched(folder: Path, across: int, down: int) -> Path:
    """Pixels of an aspect ratio that no encoder would write."""
    path = encode(folder / "a.mov", "prores", pixels="yuv422p10le", aspect=Fraction(2))
    content = bytearray(path.read_bytes())
    at = content.index(b"pasp") + 4
    content[at : at + 8] = struct.pack(">II", across, down)
    path.write_bytes(content)
    return path


def unstated(folder: Path) -> Path:
    """A file that states no aspect ratio, as many do: nothing is wrong with it."""
    path = stretched(folder, 0, 1)
    path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))
    return path


def odd_matrix(folder: Path) -> Path:
    cos, sin = round(0.94 * 65536), round(0.34 * 65536)  # 20 degrees
    turn = [cos, sin, 0, -sin, cos, 0, 0, 0, 1 << 30]
    return encode(folder / "tilted.mp4", turn=turn)


def cut(folder: Path, suffix: str, part: float) -> Path:
    noise = {"bf": "0", "crf": "1"}
    muxer = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    path = encode(folder / f"cut{suffix}", frames=60, gop=6, coder=noise, muxer=muxer)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    return path


def hole(folder: Path) -> Path:
    """A transport stream that lost packets in its middle."""
    path = encode(folder / "hole.ts", frames=30, gop=5, coder={"crf": "1"})
    content = path.read_bytes()
    at = len(content) // 188 // 2 * 188
    path.write_bytes(content[:at] + content[at + 4 * 188 :])
    return path


def renamed(folder: Path, kind: str, name: str) -> Path:
    return animation(folder / f"a{kind}").rename(folder / name)


TURNS = {
    "as it is": (matrix(1, 0, 0, 1), "null"),
    "mirrored left to right": (matrix(-1, 0, 0, 1), "hflip"),
    "mirrored top to bottom": (matrix(1, 0, 0, -1), "vflip"),
    "half a turn": (matrix(-1, 0, 0, -1), "hflip,vflip"),
    "a quarter clockwise": (matrix(0, 1, -1, 0), "transpose=clock"),
    "a quarter back": (matrix(0, -1, 1, 0), "transpose=cclock"),
    "transposed": (matrix(0, 1, 1, 0), "transpose=cclock_flip"),
    "transposed the other way": (matrix(0, -1, -1, 0), "transpose=clock_flip"),
}
HOURS = 3 * 3600

KINDS = [
    # container and codec, frame order
    Kind("mp4 h264", clip("a.mp4")),
    Kind("mp4 h264, b-frames", clip("a.mp4", b_frames=2)),
    Kind("mp4 h264, fragmented", clip("a.mp4", muxer={"movflags": "frag_keyframe+empty_moov"})),
    Kind("mp4 hevc, b-frames", clip("a.mp4", "libx265", b_frames=2)),
    Kind("mp4 mpeg4", clip("a.mp4", "mpeg4", b_frames=2)),
    Kind("mov mjpeg", clip("a.mov", "mjpeg", pixels="yuvj420p")),
    Kind("mov prores", clip("a.mov", "prores", pixels="yuv422p10le")),
    Kind("mkv h264, b-frames", clip("a.mkv", b_frames=2)),
    Kind("mkv ffv1, 10 bits", clip("a.mkv", "ffv1", pixels="yuv420p10le")),
    Kind("mkv mpeg2, b-frames", clip("a.mkv", "mpeg2video", b_frames=2)),
    Kind("webm vp8", clip("a.webm", "libvpx", coder={"deadline": "realtime"})),
    Kind("webm vp9", clip("a.webm", "libvpx-vp9", coder={"deadline": "realtime"})),
    Kind("avi h264, b-frames", clip("a.avi", b_frames=2), step=1 / 30),
    Kind("avi mpeg4", clip("a.avi", "mpeg4")),
    Kind("avi mpeg4, b-frames", clip("a.avi", "mpeg4", b_frames=2), step=1 / 30),
    Kind("avi mjpeg", clip("a.avi", "mjpeg", pixels="yuvj420p")),
    Kind("ts h264", clip("a.ts")),
    Kind("ts h264, b-frames", clip("a.ts", b_frames=2)),
    Kind("ts h264, one key frame", clip("a.ts", gop=250, frames=12), frames=12),
    Kind("ts hevc, b-frames", clip("a.ts", "libx265", b_frames=2)),
    Kind("ts mpeg2, b-frames", clip("a.ts", "mpeg2video", b_frames=2)),
    Kind("ps mpeg1", clip("a.mpg", "mpeg1video", format="mpeg"), step=1 / 30),
    Kind("ps mpeg2, b-frames", clip("a.vob", "mpeg2video", b_frames=2, format="vob"), step=1 / 30),
    Kind("raw h264", clip("a.h264", format="h264"), step=1 / 30),
    Kind("raw hevc", clip("a.hevc", "libx265", format="hevc"), step=1 / 30),
    Kind("flv h264", clip("a.flv")),
    Kind("asf mpeg4", clip("a.wmv", "msmpeg4")),
    Kind("ogg vp8", clip("a.ogv", "libvpx", coder={"deadline": "realtime"}, format="ogg")),
    Kind("gif", lambda f: animation(f / "a.gif"), step=0.1),
    Kind("gif named mp4", lambda f: renamed(f, ".gif", "b.mp4"), step=0.1),
    Kind("gif named jpg", lambda f: renamed(f, ".gif", "b.jpg"), step=0.1),
    Kind("apng", lambda f: animation(f / "a.png"), step=0.1),
    Kind("webp", lambda f: animation(f / "a.webp"), step=0.1),
    Kind("webp named mp4", lambda f: renamed(f, ".webp", "b.mp4"), step=0.1),
    Kind("avif sequence", lambda f: animation(f / "a.avif"), step=0.1, loss=1.5),
    # rotation and mirror
    *(
        Kind(
            f"mp4 h264, {name}",
            clip("a.mp4", turn=turn),
            filters,
            (HEIGHT, WIDTH) if "transpose" in filters else (WIDTH, HEIGHT),
        )
        for name, (turn, filters) in TURNS.items()
    ),
    Kind("mov mjpeg, transposed", clip("a.mov", "mjpeg", pixels="yuvj420p",
         turn=TURNS["transposed"][0]), "transpose=cclock_flip", (HEIGHT, WIDTH)),
    Kind("mp4 h264, tilted by 20 degrees", odd_matrix, note="not a mirror or a quarter turn"),
    # aspect
    Kind("mp4 h264, pixels 2:1", clip("a.mp4", aspect=Fraction(2)),
         "scale=128:48", (128, 48), loss=1.5),
    Kind("mkv h264, pixels 1:2", clip("a.mkv", aspect=Fraction(1, 2)),
         "scale=32:48", (32, 48), loss=1.5),
    Kind("ts mpeg2, pixels 4:3", clip("a.ts", aspect=Fraction(4, 3), b_frames=2),
         "scale=85:48", (85, 48), loss=2.5),
    Kind("mp4 h264, pixels 2:1 and a quarter turn",
         clip("a.mp4", aspect=Fraction(2), turn=matrix(0, 1, -1, 0)),
         "scale=128:48,transpose=clock", (48, 128), loss=1.5),
    Kind("mov prores, pixels 1000:1", lambda f: stretched(f, 1000, 1), note="ratio, 1000:1"),
    Kind("mov prores, pixels 0:1", lambda f: stretched(f, 0, 1), note="ratio, 0:1"),
    Kind("mov prores, pixels 1:0", lambda f: stretched(f, 1, 0), note="ratio, 1:0"),
    Kind("mov prores, no aspect ratio", lambda f: unstated(f)),
    # rate
    Kind("mp4 h264, a frame in 10 s", clip("a.mp4", rate=Fraction(1, 10)), step=10),
    Kind("mkv h264, a frame in 10 s", clip("a.mkv", rate=Fraction(1, 10)), step=10),
    Kind("ts h264, a frame in 2 s", clip("a.ts", rate=Fraction(1, 2)), step=2),
    Kind("mkv h264, 1 frame/s", clip("a.mkv", rate=1), step=1),
    Kind("mp4 h264, 1.5 frames/s", clip("a.mp4", rate=Fraction(3, 2)), step=2 / 3),
    Kind("mp4 h264, 24000/1001", clip("a.mp4", rate=Fraction(24000, 1001)), step=1001 / 24000),
    Kind("mp4 h264, 240 frames/s", clip("a.mp4", rate=240), step=1 / 240),
    Kind("mkv h264, uneven", clip("a.mkv", times_ms=(0, 33, 70, 71, 200, 1000, 1003, 9500)),
         times=(0, 0.033, 0.07, 0.071, 0.2, 1, 1.003, 9.5)),
    # start offset and edit list
    Kind("mkv h264, starts at 1000 s", clip("a.mkv", start_s=1000), step=1 / 30),
    Kind("ts h264, starts at 1000 s", clip("a.ts", start_s=1000), step=1 / 30),
    Kind("mp4 h264, empty edit", clip("a.mp4", start_s=2, b_frames=2), step=1 / 30),
    Kind("mp4 h264, trimmed by its edit list", trimmed, frames=4),
    # clock
    Kind("ts h264, starts again", lambda f: restarted(f, ".ts"), frames=16,
         times=even(1 / 30, 16), note="jumps back"),
    Kind("ts h264, starts again, b-frames", lambda f: restarted(f, ".ts", b_frames=2), frames=16,
         times=even(1 / 30, 16), note="jumps back"),
    Kind("ts h264, jumps by hours", lambda f: restarted(f, ".ts", HOURS), frames=16,
         times=even(1 / 30, 16), note="jumps forward by 10,79"),
    Kind("ps mpeg2, starts again",
         lambda f: restarted(f, ".mpg", codec="mpeg2video", format="vob"), frames=16,
         times=even(1 / 30, 16), note="jumps back"),
    Kind("mkv h264, jumps by hours",
         lambda f: remux(f / "jump.mkv", encode(f / "a.mkv"), [4], HOURS),
         times=even(1 / 30), note="jumps forward"),
    Kind("flv h264, jumps by hours",
         lambda f: remux(f / "jump.flv", encode(f / "a.flv"), [4], HOURS),
         times=even(1 / 30), note="jumps forward"),
    Kind("ts h264, wraps at 33 bits",
         clip("a.ts", start_s=Fraction(2**33, 90_000) - Fraction(4, 30)),
         step=1 / 30),
    # interlaced and damaged
    Kind("mp4 h264, intra refresh", clip("a.mp4", frames=20, gop=8, coder={
        "x264-params": "intra-refresh=1:bframes=0"}), frames=20),
    Kind("mkv h264, intra refresh", clip("a.mkv", frames=20, gop=8, coder={
        "x264-params": "intra-refresh=1:bframes=0"}), frames=20),
    Kind("mp4 h264, open groups", clip("a.mp4", frames=20, gop=6, b_frames=2, coder={
        "x264-params": "open-gop=1"}), frames=20),
    Kind("ts h264, open groups", clip("a.ts", frames=20, gop=6, b_frames=2, coder={
        "x264-params": "open-gop=1"}), frames=20),
    Kind("ts h264, intra refresh", clip("a.ts", frames=20, gop=8, coder={
        "x264-params": "intra-refresh=1:bframes=0"}), frames=20),
    Kind("mp4 h264, cut in the middle", lambda f: cut(f, ".mp4", 0.6), frames=None,
         error="cut short|damaged"),
    Kind("mkv h264, cut in the middle", lambda f: cut(f, ".mkv", 0.6), frames=None,
         error="cut short|damaged"),
    # What is missing of the last frame is guessed, by threads in another way than by one.
    Kind("ts h264, cut in the middle", lambda f: cut(f, ".ts", 0.6), frames=None, loss=12),
    Kind("ts h264, packets lost", hole, frames=None),
]  # fmt: skip


def test_the_table_is_long_enough() -> None:
    assert len(KINDS) >= 40
    assert len({kind.name for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kinds_of_media(kind: Kind, tmp_path: Path) -> None:
    path = kind.make(tmp_path)
    notes: list[str] = []
    frames, error = every(path, Selection(), notes)
    truth = reference(path, kind)
    assert len(frames) == len(truth), "as many frames as FFmpeg decodes"
    assert kind.frames is None or len(frames) == kind.frames
    assert [f.index for f in frames] == list(range(len(frames)))
    assert {f.size for f in frames} == {kind.size}
    assert times(frames) == pytest.approx(expected_times(kind, truth, frames), abs=2e-3)
    assert all(a < b for a, b in pairwise(times(frames)))
    for frame, (_, pixels) in zip(frames, truth, strict=True):
        assert frame.pixels.shape == pixels.shape == (kind.size[1], kind.size[0], 3)
        assert difference(frame.pixels, pixels) <= kind.loss, frame.index
    assert bool(kind.note) == bool(notes), notes
    assert all(str(kind.note) in note and path.name in note for note in notes)
    assert bool(kind.error) == (error is not None), error
    check_part(path, frames)
    if kind.error is None:
        check_ways(path, frames)


def every(path: Path, part: Selection, notes: list[str]) -> tuple[list[Frame], str | None]:
    """Return the frames that a file gives, and why it broke off."""
    [source] = list_sources([path], warn=notes.append)
    assert source.kind == "video"
    frames: list[Frame] = []
    try:
        for frame in source.frames(part):
            frame.pixels  # noqa: B018  (before the decoder takes its memory again)
            frames.append(frame)
    except SourceError as error:
        return frames, error.message
    return frames, None


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b).mean())


def times(frames: list[Frame]) -> list[float]:
    return [frame.time_s for frame in frames]


def reference(path: Path, kind: Kind) -> list[tuple[Fraction | None, np.ndarray]]:
    if path.name.endswith(".webp") or "webp" in kind.name:  # which this FFmpeg cannot decode
        return [(Fraction(k, 10), image(k)) for k in range(8)]
    if "avif" in kind.name:
        with av.open(str(path)) as box:
            sequence = box.streams.video[1]
            return [(Fraction(k, 10), f.to_ndarray(format="rgb24"))
                    for k, f in enumerate(box.decode(sequence))]  # fmt: skip
    return decoded(path, kind.filters)


def expected_times(kind: Kind, truth: list[Any], frames: list[Frame]) -> list[float]:
    """Return the row's own times; else those of FFmpeg's decoder."""
    if kind.times is not None:
        return list(kind.times)
    if kind.step is not None:
        return list(even(kind.step, len(frames), frames[0].time_s))
    assert all(time is not None for time, _ in truth)
    return [float(time) for time, _ in truth]


def check_part(path: Path, whole: list[Frame]) -> None:
    """From any moment on, every frame comes, and as in the whole."""
    for at in (len(whole) // 3, len(whole) - 2):
        rest, _ = every(path, Selection(start_s=whole[at].time_s - 1e-4), [])
        assert times(rest) == pytest.approx(times(whole[at:]), abs=1e-5)
        assert [f.pts for f in rest] == [f.pts for f in whole[at:]]
        for a, b in zip(rest, whole[at:], strict=True):
            assert difference(a.pixels, b.pixels) == 0, a.index


def check_ways(path: Path, frames: list[Frame]) -> None:
    """A file, a pipe and an iterable of the same frames are read alike."""

    def reader() -> Reader:
        return Reader(FakeClassifier(("happy", "sad")), detector=FakeDetector([(4, 4, 30, 30)]))

    def bare(reading: FrameReading) -> FrameReading:
        return replace(reading, source="", pts=None, time_s=0.0, until_s=0.0)

    of_file = list(reader().stream(path, settings=OPEN))
    pairs: Any = [(frame.time_s, frame.pixels) for frame in frames]
    of_arrays = list(reader().stream(iter(pairs), settings=OPEN))
    assert [r.time_s for r in of_arrays] == [r.time_s for r in of_file]
    assert [bare(r) for r in of_arrays] == [bare(r) for r in of_file]
    if not is_even(times(frames)):
        return  # a pipe has one rate
    rate = (len(frames) - 1) / (frames[-1].time_s - frames[0].time_s)
    raw = io.BytesIO(b"".join(frame.pixels.tobytes() for frame in frames))
    piped = raw_source(RawFormat(*frames[0].size, rate), raw)
    of_pipe = [r.reading for r in reader().session(settings=OPEN).results(piped)]
    first = frames[0].time_s
    assert [first + r.time_s for r in of_pipe] == pytest.approx(times(frames), abs=2e-3)
    assert [r.until_s for r in of_arrays] == [r.until_s for r in of_file]
    assert [bare(r) for r in of_pipe] == [bare(r) for r in of_file]


def is_even(seconds: list[float]) -> bool:
    steps = np.diff(seconds)
    return bool(np.ptp(steps) < 2e-3)
