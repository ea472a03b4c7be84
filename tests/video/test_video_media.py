"""What is written and warned of odd videos: see the table in test_kinds_of_media.py."""

from __future__ import annotations

import logging
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.video.clips import write_clip
from tests.video.media import HEIGHT, WIDTH, animation, encode, image, joined, matrix
from tests.video.test_outputs import write
from tests.video.test_video import SETTINGS, mien, read, reader

from mien import SourceError
from mien.video.display import Orientation, orientation
from mien.video.select import Selection
from mien.video.sinks.clip import ClipWriter
from mien.video.sinks.outputs import OutputFolder, OutputOptions
from mien.video.sources import list_sources


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """A second of images and sound, two times: the clock starts again."""
    part = write_clip(tmp_path / "part.ts", 30, audio=True)
    return joined(tmp_path / "twice.ts", part, part)


def test_a_copy_is_as_long_as_a_video_whose_clock_starts_again(tmp_path: Path, twice: Path) -> None:
    write(twice, tmp_path / "out", OutputOptions(annotate=True))
    with av.open(str(tmp_path / "out" / "twice.annotated.mp4")) as box:
        times = [float(frame.time or 0) for frame in box.decode(video=0)]
    assert times == pytest.approx([k / 30 for k in range(60)], abs=2e-3)
    with av.open(str(tmp_path / "out" / "twice.annotated.mp4")) as box:
        sound = [frame for frame in box.decode(audio=0)]
    assert sum(frame.samples for frame in sound) / 16_000 == pytest.approx(2, abs=0.3)
    assert float(sound[-1].time or 0) == pytest.approx(2, abs=0.2)


def test_a_jump_is_logged_without_a_callback(twice: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mien.video"):
        readings = read(twice)
    assert len(readings) == 60
    assert "the clock jumps back by 1.0 s at frame 30" in caplog.text


def test_a_copy_shows_square_pixels_and_is_turned(tmp_path: Path) -> None:
    clip = encode(tmp_path / "wide.mp4", aspect=Fraction(2), turn=matrix(0, 1, -1, 0))
    write(clip, tmp_path / "out", OutputOptions(annotate=True))
    with av.open(str(tmp_path / "out" / "wide.annotated.mp4")) as box:
        stream = box.streams.video[0]
        assert (stream.width, stream.height) == (HEIGHT, 2 * WIDTH)
        assert stream.sample_aspect_ratio in (None, 1)
        shown = next(box.decode(stream)).to_ndarray(format="rgb24")
    # It is brighter to the right, which is down now.
    assert shown[-12:].mean() > shown[:8].mean() + 30
    readings = read(clip)
    assert {(r.width, r.height) for r in readings} == {(HEIGHT, 2 * WIDTH)}


def test_a_video_that_changes_its_size_is_written_in_the_first(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "copy.mp4") as clip:
        clip.write(image(0), 0.0)
        clip.write(image(1, 2 * WIDTH, HEIGHT), 0.1)
    with av.open(str(tmp_path / "copy.mp4")) as box:
        frames = [frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)]
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 2
    bar = frames[1][: HEIGHT // 4 - 2].mean()
    assert bar < 20 < frames[1][HEIGHT // 2].mean(), "between bars, not squeezed"


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ((2, 0, 0, 2), Orientation()),
        ((0, 0, 0, 0), Orientation()),
        ((0, -3, 3, 0), Orientation(True, False, True)),
    ],
)
def test_a_zoom_is_no_orientation(numbers: tuple[int, int, int, int], wanted: Any) -> None:
    packed = np.array(matrix(*numbers), np.int32).tobytes()
    found, likeness = orientation(packed)
    assert found == wanted
    assert likeness == pytest.approx(float(any(numbers)))


def test_resume_reads_again_what_broke_off(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mkv", 60, options={"g": "5"})
    content = clip.read_bytes()
    clip.write_bytes(content[: len(content) // 2])
    command = (clip, "--out", tmp_path / "out", "--resume", "--threads", 1)
    for _ in range(2):
        done = mien(*command)
        assert done.returncode == 1
        assert "cut short" in done.stderr
    clip.write_bytes(content)  # its download has gone on meanwhile
    done = mien(*command)
    assert "60 frames" in done.stderr
    assert done.returncode == 3  # no face in it
    assert "done already" in mien(*command).stderr


def test_a_part_without_a_frame_is_an_error(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 10)
    with pytest.raises(SourceError, match=r"has no frame from 5 s to its end"):
        read(clip, selection=Selection(start_s=5))
    with pytest.raises(SourceError, match=r"has no frame from 0.12 s to 0.13 s"):
        read(clip, selection=Selection(start_s=0.12, end_s=0.13))
    done = mien(clip, "--start", 5)
    assert done.returncode == 1
    assert "unreadable" in done.stderr


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    song = tmp_path / "song.mp4"
    with av.open(str(song), "w") as box:
        sound = box.add_stream("aac", rate=16_000, layout="mono")
        cover: Any = box.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        box.mux(cover.encode(av.VideoFrame.from_ndarray(image(0), format="rgb24")))
        box.mux(cover.encode())
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        box.mux(sound.encode(frame))
        box.mux(sound.encode())
    with pytest.raises(SourceError, match="no video in it, only a cover image and audio"):
        read(song)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_an_animation_read_as_an_image_is_called_one(tmp_path: Path, suffix: str) -> None:
    moving, still = animation(tmp_path / f"a{suffix}"), animation(tmp_path / f"b{suffix}", 1)
    command = [str(Path(sys.executable).with_name("mien")), "predict", str(moving), str(still)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    said = [line for line in done.stderr.splitlines() if line.startswith("note")]
    words = "an animation: only its first frame was read; mien video reads them all"
    assert said == [f"note: {moving}: {words}"]
    [one, other] = list_sources([str(tmp_path / f"*{suffix}")])
    assert (one.kind, other.kind) == ("video", "image")


def test_a_damaged_animation_is_an_error(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp")
    content = path.read_bytes()
    path.write_bytes(content[: 2 * len(content) // 3])
    outputs = OutputFolder(tmp_path / "out", OutputOptions())
    [source] = list_sources([path])
    session = reader().session(settings=SETTINGS)
    with pytest.raises(SourceError, match=r"a\.webp"):
        session.run(source, outputs.sinks(source, outputs.name(source), session.labels))
