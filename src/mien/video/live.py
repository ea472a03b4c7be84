"""Reading live: frames are dropped rather than queued, so that what is shown is now.

At most one frame waits while one is being read, and a newer one takes its place. What is shown
therefore came while the frame before it was read, and is never older than the reading of two frames
takes. `bench/video.py --only live` measures it.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mien.imaging.anonymize import blur_faces
from mien.imaging.codec import write_image
from mien.imaging.draw import FrameAnnotator
from mien.predict.sources import Source
from mien.video.sinks.clip import ClipWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.types import FrameReading
    from mien.video.frame import Frame
    from mien.video.plan import Settings
    from mien.video.select import Selection

QUIT, PAUSE, SNAPSHOT, RECORD = "q", "p", "s", "r"


class View(Protocol):
    """What shows frames and takes keys: a window, or a test."""

    def show(self, pixels_hwc: NDArray[np.uint8], words: str) -> None:
        """Show pixels, uint8 [h, w, 3] RGB, and a line of words."""
        ...

    def pressed(self) -> list[str]:
        """Return the keys pressed since the last call; 'q' when the view was closed."""
        ...


class StreamReader(Protocol):
    """Reads the frames of a source, as `mien.Reader` does."""

    def watch(self, source: Source, *, settings: Settings) -> Iterator[tuple[Frame, FrameReading]]:
        """Yield each frame with its reading."""
        ...


@dataclass(slots=True)
class LiveCount:
    """What went by.

    Attributes:
        frames: read.
        seconds: since the first.
    """

    frames: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0


def paced(source: Source) -> Source:
    """Return a video file as if it were a camera: its frames come when their time does."""
    if source.live:
        return source

    def read(selection: Selection) -> Iterator[Frame]:
        began, first = time.monotonic(), None
        for frame in source.read(selection):
            first = frame.time_s if first is None else first
            early = frame.time_s - first - (time.monotonic() - began)
            if early > 0:
                time.sleep(early)
            yield frame

    return replace(source, kind="camera", read=read)


def read_live(
    reader: StreamReader, source: Source, settings: Settings
) -> Iterator[tuple[Frame, FrameReading]]:
    """Yield the newest frame of a source with its reading, again and again, until it ends."""
    live = replace(settings, live=True)
    return reader.watch(paced(source), settings=live)


def show_live(
    seen: Iterator[tuple[Frame, FrameReading]],
    view: View,
    folder: Path,
    *,
    blur: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> LiveCount:
    """Show what is read until the source ends or the view is closed.

    Keys: p or space pauses, s writes a snapshot, r starts and stops recording, q ends.

    Args:
        seen: from `read_live`; closed at the end, also by an error.
        view: shows.
        folder: for snapshots and recordings.
        blur: hides faces in what is shown and written.
        say: told of files written.
    """
    count, recorder, annotator = LiveCount(), _Recorder(folder, say), FrameAnnotator()
    began: float | None = None
    recent = time.monotonic()
    rate = 0.0
    with closing(seen), recorder:  # type: ignore[type-var]
        for frame, reading in seen:
            now = time.monotonic()
            began = now if began is None else began
            rate += 0.1 * (1 / max(now - recent, 1e-3) - rate) if count.frames else 0
            recent = now
            count.frames, count.seconds = count.frames + 1, now - began
            pixels = _draw(annotator, frame, reading, blur)
            recorder.append(pixels, frame.time_s)
            recording = "  ● recording" if recorder.on else ""
            view.show(pixels, f"{rate:.{1 if rate < 10 else 0}f} frames/s{recording}")
            if not _obey(view, recorder, pixels):
                break
    return count


def _draw(
    annotator: FrameAnnotator, frame: Frame, reading: FrameReading, blur: bool
) -> NDArray[np.uint8]:
    pixels = frame.pixels
    if blur:
        import numpy as np

        own = [np.array(face.box, np.float32) for face in reading.faces]
        pixels = blur_faces(pixels, [*frame.perhaps_xyxy, *own])
    return annotator.draw(pixels, reading.faces, frame.time_s)


def _obey(view: View, recorder: _Recorder, pixels: NDArray[np.uint8]) -> bool:
    """Do what the keys say; return whether to go on. A pause waits in here."""
    paused = False
    while True:
        for key in view.pressed():
            if key == QUIT:
                return False
            if key in (PAUSE, " "):
                paused = not paused
            elif key == SNAPSHOT:
                recorder.snapshot(pixels)
            elif key == RECORD:
                recorder.toggle()
        if not paused:
            return True
        view.show(pixels, "paused: p goes on")
        time.sleep(0.03)


class _Recorder:
    """Writes snapshots, and a clip while it is on."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._stack: ExitStack | None = None
        self._clip: ClipWriter | None = None

    @property
    def on(self) -> bool:
        return self._clip is not None

    def __enter__(self) -> _Recorder:
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def append(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        if self._clip is not None:
            self._clip.write(pixels, time_s)

    def toggle(self) -> None:
        if self._clip is not None:
            self._stop()
            return
        self._stack = ExitStack()
        self._clip = self._stack.enter_context(ClipWriter(self._free("recording", ".mp4")))

    def snapshot(self, pixels: NDArray[np.uint8]) -> None:
        path = self._free("snapshot", ".jpg")
        write_image(path, pixels)
        self._say(f"snapshot: {path}")

    def _stop(self) -> None:
        if self._clip is None or self._stack is None:
            return
        path, self._clip = self._clip.path, None
        self._stack.close()
        self._say(f"recording: {path}")

    def _free(self, name: str, suffix: str) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        number, path = 1, self._folder / f"{name}-{stamp}{suffix}"
        while path.exists():
            number += 1
            path = self._folder / f"{name}-{stamp}-{number}{suffix}"
        return path
