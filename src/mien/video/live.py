"""Live sessions: frames are dropped rather than queued, so that the newest one is shown.

At most one frame waits while another is processed, and a newer one replaces it. What is shown
therefore arrived while the frame before it was processed, and is never older than the processing
of two frames takes. `bench/video.py --only live` measures it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.files import WriteError
from mien.imaging.anonymize import blur_faces
from mien.imaging.codec import write_image
from mien.imaging.draw import FrameAnnotator
from mien.video.sinks.base import Sink, StopSession
from mien.video.sinks.clip import ClipWriter
from mien.video.sources import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from mien.video.frame import Frame, FrameResult
    from mien.video.select import Selection
    from mien.video.session import Session
    from mien.video.summary import Summary

QUIT, PAUSE, SNAPSHOT, RECORD = "q", "p", "s", "r"
RATE_WEIGHT = 0.1
"""Weight of the newest frame in the frame rate that is shown: an average of about ten."""


class View(Protocol):
    """What shows frames and takes keys: a window, or a fake in tests."""

    def show(self, pixels_hwc: NDArray[np.uint8], words: str) -> None:
        """Show pixels, uint8 [h, w, 3] RGB, and a line of text."""
        ...

    def pressed(self) -> list[str]:
        """Return the keys pressed since the last call; 'q' when the view was closed."""
        ...


@dataclass(slots=True)
class LiveCount:
    """How many frames were shown.

    Attributes:
        frames: number of them.
        seconds: from the first to the last.
    """

    frames: int = 0
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0


def paced(source: Source) -> Source:
    """Return a video file as if it were a camera: its frames arrive at their times."""
    if source.live:
        return source

    def read(selection: Selection) -> Iterator[Frame]:
        # Against the wall clock, so that delays do not add up over the frames.
        started, first_s = time.monotonic(), None
        for frame in source.read(selection):
            first_s = frame.time_s if first_s is None else first_s
            early = frame.time_s - first_s - (time.monotonic() - started)
            if early > 0:
                time.sleep(early)
            yield frame

    return replace(source, kind="camera", read=read)


def run_live(session: Session, source: Source, sinks: Sequence[Sink]) -> Summary:
    """Run a session on the newest frame of a source, over and over, until it ends.

    Args:
        session: its settings are made live.
        source: a camera or stream; a file is played at its own rate.
        sinks: see `Session.run`; a `LiveWindow`, for example.

    Raises:
        SourceError: it cannot be read, or broke off.
    """
    live = replace(session, settings=replace(session.settings, live=True))
    summary = live.run(paced(source), sinks)
    # A camera that is gone is the end of the session; with a file it would be a note in the
    # summary.
    if summary.error is not None:
        raise summary.error
    return summary


class LiveWindow(Sink):
    """Shows the frames until the view is closed.

    Keys: p or space pauses, s writes a snapshot, r starts and stops recording, q quits.

    Args:
        view: shows the frames.
        folder: for snapshots and recordings.
        blur: blur faces in what is shown and written.
        say: called with a line for each file written.

    Attributes:
        count: of the frames shown.
    """

    def __init__(
        self,
        view: View,
        folder: Path,
        *,
        blur: bool = False,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.count = LiveCount()
        self._view, self._blur = view, blur
        self._recorder, self._annotator = _Recorder(folder, say), FrameAnnotator()
        self._first_s: float | None = None
        self._recent_s = time.monotonic()
        self._rate = 0.0

    def write(self, result: FrameResult) -> None:
        """Show a frame; handle the keys. A pause waits in here.

        Raises:
            StopSession: the view was closed.
        """
        self._measure(time.monotonic())
        frame, faces = result.frame, result.reading.faces
        pixels = frame.pixels
        if self._blur:
            # Tracks between detections have boxes but no candidates.
            own = [np.array(face.box, np.float32) for face in faces]
            pixels = blur_faces(pixels, [*result.candidates_xyxy, *own])
        pixels = self._annotator.draw(pixels, faces, frame.time_s)
        self._recorder.write(pixels, frame.time_s)
        recording = "  ● recording" if self._recorder.on else ""
        digits = 1 if self._rate < 10 else 0
        self._view.show(pixels, f"{self._rate:.{digits}f} frames/s{recording}")
        self._handle_keys(pixels)

    def close(self, summary: Summary) -> None:
        """Finish a recording.

        Raises:
            WriteError: the disk is full, or the like.
        """
        self._recorder.stop()

    def abort(self) -> None:
        """Finish a recording too: what was recorded until the error can be played."""
        # The error that led here is the one to report.
        with suppress(WriteError):
            self._recorder.stop()

    def _measure(self, now_s: float) -> None:
        self._first_s = now_s if self._first_s is None else self._first_s
        if self.count.frames:
            newest = 1 / max(now_s - self._recent_s, 1e-3)
            self._rate += RATE_WEIGHT * (newest - self._rate)
        self._recent_s = now_s
        self.count.frames, self.count.seconds = self.count.frames + 1, now_s - self._first_s

    def _handle_keys(self, pixels: NDArray[np.uint8]) -> None:
        paused = False
        while True:
            for key in self._view.pressed():
                if key == QUIT:
                    raise StopSession
                if key in (PAUSE, " "):
                    paused = not paused
                elif key == SNAPSHOT:
                    self._recorder.snapshot(pixels)
                elif key == RECORD:
                    self._recorder.toggle()
            if not paused:
                return
            # Shown again: a window that is not updated seems to hang.
            self._view.show(pixels, "paused: press p to continue")
            time.sleep(0.03)


class _Recorder:
    """Writes snapshots, and a clip while it is on."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._clip: ClipWriter | None = None

    @property
    def on(self) -> bool:
        return self._clip is not None

    def write(self, pixels: NDArray[np.uint8], time_s: float) -> None:
        if self._clip is not None:
            self._clip.write(pixels, time_s)

    def toggle(self) -> None:
        if self._clip is not None:
            self.stop()
            return
        self._clip = ClipWriter(self._free_name("recording", ".mp4"))

    def snapshot(self, pixels: NDArray[np.uint8]) -> None:
        path = self._free_name("snapshot", ".jpg")
        write_image(path, pixels)
        self._say(f"snapshot: {path}")

    def stop(self) -> None:
        if self._clip is None:
            return
        # Off first: an error in closing must not close it twice.
        clip, self._clip = self._clip, None
        clip.close()
        self._say(f"recording: {clip.path}")

    def _free_name(self, name: str, suffix: str) -> Path:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        number, path = 1, self._folder / f"{name}-{stamp}{suffix}"
        while path.exists():
            number += 1
            path = self._folder / f"{name}-{stamp}-{number}{suffix}"
        return path
