"""Every kind of video source goes through the same checks."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import FrozenInstanceError, dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from tests.patience import PATIENCE_S
from tests.video.clips import SIZE, image, write_clip
from tests.video.streams import pieces, serving

from mien import ConfigError, Reader, SourceError
from mien.imaging.codec import write_image
from mien.predict.sources import ImageSource
from mien.testing import FakeClassifier, FakeDetector
from mien.video.frame import Frame
from mien.video.select import Selection
from mien.video.sources import RawFormat, Source, array_source, list_sources, raw_source
from mien.video.stream import read_camera, read_stream

COUNT = 24
RAW = RawFormat(*SIZE, 25.0)


@dataclass(frozen=True)
class Case:
    """A source of `COUNT` frames, and the same one broken off in the middle.

    Attributes:
        make: a context that gives the source; `broken` asks for the one that breaks off.
        error: words of the error where it breaks off; None for a source that cannot.
    """

    name: str
    kind: str
    make: Callable[[Path, bool], Any]
    error: str | None


@contextmanager
def file(folder: Path, broken: bool) -> Iterator[Source]:
    noise = np.random.default_rng(0).integers(0, 255, (COUNT, 64, 96, 3), dtype=np.uint8)
    rate = 10 if broken else 30  # what is missing must be longer than half a second
    path = write_clip(folder / "clip.mkv", list(noise), rate=rate, options={"g": "4"})
    if broken:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    yield next(list_sources([path]))


@contextmanager
def pipe(_: Path, broken: bool) -> Iterator[Source]:
    content = b"".join(image(k).tobytes() for k in range(COUNT))
    yield raw_source(RAW, io.BytesIO(content[: len(content) // 2 + 5] if broken else content))


@contextmanager
def iterable(_: Path, broken: bool) -> Iterator[Source]:
    arrays = [image(k) for k in range(COUNT)]
    if broken:
        arrays[COUNT // 2] = arrays[0].astype(np.float32)
    yield array_source(iter(arrays), 25.0)


@contextmanager
def camera(folder: Path, broken: bool) -> Iterator[Source]:
    clip = write_clip(folder / "clip.mp4", COUNT)

    class Unplugged:
        def __init__(self, inner: Any) -> None:
            self.inner, self.start_time, self.format = inner, inner.start_time, inner.format
            self.name = "/dev/video0"

        def demux(self, stream: Any) -> Iterator[Any]:
            yield from islice(self.inner.demux(stream), COUNT // 2)
            raise av.error.OSError(19, "No such device")

    @contextmanager
    def opened(*_: Any, **__: Any) -> Iterator[Any]:
        with av.open(str(clip)) as container:
            yield Unplugged(container) if broken else container, container.streams.video[0]

    # A camera has no end; so that the fake one has, the error of its going away is dropped.
    def read(_: Selection) -> Iterator[Frame]:
        frames = read_camera(0, open_camera=opened)
        return frames if broken else islice(frames, COUNT)

    yield Source("camera:0", "camera", read)


@contextmanager
def stream(folder: Path, broken: bool) -> Iterator[Source]:
    content = write_clip(folder / "clip.ts", COUNT + 8, options={"g": "4"}).read_bytes()
    with serving(pieces(content)) as server:
        [listed] = list_sources([server.address])
        frames = read_stream(server.address, timeout_s=PATIENCE_S, retries=0)
        yield replace(listed, read=lambda _: frames if broken else islice(frames, COUNT))


CASES = [
    Case("file", "video", file, "cut short|damaged"),
    Case("pipe", "raw", pipe, "ends within frame 12"),
    Case("camera", "camera", camera, "camera 0 went away"),
    Case("stream", "stream", stream, "is gone after"),
    Case("iterable", "arrays", iterable, "frame 12 must be uint8"),
]
every_source = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@every_source
def test_frames_are_sound(case: Case, tmp_path: Path) -> None:
    with case.make(tmp_path, False) as source:
        assert source.kind == case.kind
        frames = list(source.frames(Selection()))
        assert len(frames) == COUNT
        assert [frame.index for frame in frames] == list(range(COUNT))
        assert all(a.time_s < b.time_s for a, b in pairwise(frames))
        assert len({frame.source for frame in frames}) == 1
        for frame in frames:
            assert frame.size == SIZE
            assert frame.pixels.shape == (SIZE[1], SIZE[0], 3)
            assert frame.pixels.dtype == np.uint8
            assert frame.pixels is frame.pixels, "converted once"


@every_source
def test_a_frame_cannot_be_changed(case: Case, tmp_path: Path) -> None:
    with case.make(tmp_path, False) as source:
        frame = next(source.frames(Selection()))
        with pytest.raises(FrozenInstanceError):
            frame.index = 7
        copy = replace(frame, index=7, time_s=1.0)
        assert (copy.index, frame.index) == (7, 0)
        assert copy.pixels is frame.pixels, "copies share their pixels"


@every_source
def test_a_part_is_part_of_the_whole(case: Case, tmp_path: Path) -> None:
    with case.make(tmp_path, False) as source:
        frames = list(source.frames(Selection(every=3, end_s=0.5)))
        assert [frame.index for frame in frames] == list(range(0, 3 * len(frames), 3))
        assert 3 <= len(frames) < COUNT / 2
        assert all(frame.time_s < 0.5 for frame in frames)


@every_source
def test_a_source_that_breaks_off_gives_its_good_frames_first(case: Case, tmp_path: Path) -> None:
    with case.make(tmp_path, True) as source:
        frames: list[Frame] = []
        with pytest.raises(SourceError, match=case.error) as caught:
            for frame in source.frames(Selection()):
                frame.pixels  # noqa: B018  (while the decoder still has it)
                frames.append(frame)
        assert len(frames) >= COUNT // 4
        assert caught.value.hint


@every_source
def test_it_runs_through_a_session(case: Case, tmp_path: Path) -> None:
    reader = Reader(FakeClassifier(), detector=FakeDetector([(10, 10, 40, 40)]))
    with case.make(tmp_path, False) as source:
        summary = reader.session().run(source)
        assert 0 < summary.frames <= COUNT, "a live source may drop frames"
        assert summary.source in (source.name, "camera 0")
        if not source.live:
            assert summary.frames == COUNT


def test_an_image_is_a_source_of_one_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", image(0))
    [source] = list_sources([tmp_path / "a.png"])
    [frame] = source.frames(Selection())
    assert source.kind == "image"
    assert np.array_equal(frame.pixels, image(0))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.jpg", "clip.txt"])
def test_image_sources_refuse_a_video_and_name_its_command(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / "plain.mp4", 4)
    clip.rename(tmp_path / name)
    with pytest.raises(SourceError, match="is a video, not an image") as caught:
        ImageSource(tmp_path / name).load()
    assert "mien video" in caught.value.hint
    assert "Reader.stream" in caught.value.hint


def test_video_sources_refuse_what_is_no_frame_and_name_its_command(tmp_path: Path) -> None:
    paths: Any = [str(tmp_path / "a.jpg")]
    with pytest.raises(SourceError, match="frame 0 must be an array, .* got str") as caught:
        list(array_source(paths).frames(Selection()))
    assert "mien predict" in caught.value.hint
    with pytest.raises(SourceError, match="got uint8") as caught:
        list(array_source(image(0)).frames(Selection()))  # one image: its rows are no frames
    assert "Reader.read" in caught.value.hint
    (tmp_path / "notes.txt").write_text("words")
    with pytest.raises(SourceError, match="holds no videos and no images"):
        list(list_sources([tmp_path]))


@pytest.mark.parametrize(
    ("size", "rate", "words"),
    [("12", None, "size: '12'"), ("0x9", None, "size: '0x9'"), ("9x9", 0.0, r"rate: 0\.0")],
)
def test_a_wrong_raw_format_names_the_argument(size: str, rate: float | None, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RawFormat.parse(size, rate)
    with pytest.raises(ConfigError, match="need their size"):
        raw_source(None, io.BytesIO())
