"""Cameras, network streams and the live view: what breaks, and threads that must end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import av
import numpy as np
import pytest
from tests.patience import PATIENCE_S, child, until
from tests.video.clips import image, write_clip
from tests.video.streams import jpegs, pieces, serving
from tests.video.test_video import SETTINGS, mien, reader

from mien import SourceError
from mien.video.frame import Frame, FrameResult
from mien.video.live import LiveCount, LiveWindow, run_live
from mien.video.prefetch import Prefetcher
from mien.video.sinks.base import Sink
from mien.video.sources import Source
from mien.video.stream import read_camera, read_stream

MIEN = Path(sys.executable).with_name("mien")


def test_a_source_that_never_answers_does_not_keep_the_process() -> None:
    over, waited_out = threading.Event(), threading.Event()

    def silent() -> Iterator[int]:
        yield 1
        if not over.wait(PATIENCE_S):
            waited_out.set()

    try:
        with Prefetcher(silent(), join_s=0.2) as items:
            assert next(items) == 1
        with (
            pytest.raises(RuntimeError, match="mine"),
            Prefetcher(silent(), join_s=0.2) as items,
        ):
            next(items)
            raise RuntimeError("mine")
        assert not waited_out.is_set()
    finally:
        over.set()


def test_the_newest_frame_wins() -> None:
    all_came = threading.Event()

    def quick() -> Iterator[int]:
        yield from range(50)
        all_came.set()

    prefetcher = Prefetcher(quick(), newest=True)
    seen = []
    with prefetcher as items:
        for item in items:
            seen.append(item)
            assert all_came.wait(PATIENCE_S)
    assert seen == sorted(seen)
    assert prefetcher.dropped > 0
    assert len(seen) + prefetcher.dropped == 50
    assert seen[-1] == 49


class ScriptedView:
    """Presses keys at given shows."""

    def __init__(self, keys: dict[int, str]) -> None:
        self.script, self.shown, self.words = keys, 0, [""]

    def show(self, pixels_hwc: np.ndarray, words: str) -> None:
        self.shown += 1
        self.words.append(words)

    def pressed(self) -> list[str]:
        key = self.script.pop(self.shown, None)
        return [] if key is None else [key]


def camera() -> Source:
    """A camera that never ends by itself."""

    def read(_: Any) -> Iterator[Frame]:
        for k in count():
            time.sleep(0.005)
            yield Frame.of("camera:0", k, k / 30, image(k))

    return Source("camera:0", "camera", read)


def live(source: Source, *sinks: Sink) -> None:
    run_live(reader().session(settings=SETTINGS), source, sinks)


def show(
    view: ScriptedView, folder: Path, say: Callable[[str], None] = lambda text: None
) -> LiveCount:
    """Show the camera in a view until it is closed; return what was counted."""
    window = LiveWindow(view, folder, say=say)
    live(camera(), window)
    return window.count


def no_thread_reads() -> bool:
    # By its own name: other tests of this process may have left threads that wait for a storage.
    return not any("mien-prefetch" in thread.name for thread in threading.enumerate())


def test_what_is_shown_is_no_older_than_two_readings(tmp_path: Path) -> None:
    """A camera twice as fast as the view, by order of events: no clock matters."""
    events: list[tuple[str, int]] = []
    allowed = threading.Semaphore(2)
    frames = 60

    def read(_: Any) -> Iterator[Frame]:
        for k in range(frames):
            assert allowed.acquire(timeout=PATIENCE_S)
            yield Frame.of("camera:0", k, k / 100, image(k))
            events.append(("came", k))

    class Slow(ScriptedView):
        def show(self, pixels_hwc: np.ndarray, words: str) -> None:
            """Take as long as two frames of the camera."""
            super().show(pixels_hwc, words)
            allowed.release(2)
            due = min(frames, 2 + 2 * self.shown)
            until(lambda: sum(what == "came" for what, _ in events.copy()) >= due, 0.001)

    class Noted(Sink):
        def write(self, result: FrameResult) -> None:
            events.append(("shown", result.frame.index))

    live(Source("camera:0", "camera", read), Noted(), LiveWindow(Slow({}), tmp_path))
    shown = [k for what, k in events if what == "shown"]
    assert shown == sorted(set(shown))
    assert 20 < len(shown) < 40, "every other one is dropped"
    assert shown[-1] == frames - 1, "the newest never is"
    for before, k in pairwise(shown[1:]):
        # It came after the one that was shown two before: while the last one was read.
        earlier = shown[shown.index(before) - 1]
        assert events.index(("came", k)) > events.index(("shown", earlier))


def test_live_keys(tmp_path: Path) -> None:
    view = ScriptedView({2: "s", 4: "r", 9: "r", 11: "p", 14: "p", 20: "q"})
    lines: list[str] = []
    shown = show(view, tmp_path, lines.append)
    assert view.shown == 20
    assert any("paused" in w for w in view.words)
    assert any("recording" in w for w in view.words)
    assert all(" frames/s" in w or "paused" in w for w in view.words[1:])
    assert shown.frames < 20
    assert [s.split(":")[0] for s in lines] == ["snapshot", "recording"]
    [clip] = tmp_path.glob("recording*.mp4")
    with av.open(str(clip)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    until(no_thread_reads)


def test_live_ends_when_the_view_raises(tmp_path: Path) -> None:
    class Broken(ScriptedView):
        def show(self, pixels_hwc: np.ndarray, words: str) -> None:
            raise RuntimeError("window gone")

    with pytest.raises(RuntimeError, match="window gone"):
        show(Broken({}), tmp_path)
    until(no_thread_reads)


def test_no_camera_is_told_of() -> None:
    done = mien("camera:7", "--csv")
    assert done.returncode == 1
    assert "unreadable: camera 7 cannot be opened" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(SourceError, match="camera 7 cannot be opened") as caught:
        list(read_camera(7))
    assert "plugged in" in caught.value.hint


@pytest.mark.parametrize("end", ["error", "silence"])
def test_a_camera_unplugged_in_the_middle(tmp_path: Path, end: str) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 20)

    class Unplugged:
        def __init__(self, inner: Any) -> None:
            self.inner, self.start_time, self.format = inner, inner.start_time, inner.format
            self.name = "/dev/video0"

        def demux(self, stream: Any) -> Iterator[Any]:
            for k, packet in enumerate(self.inner.demux(stream)):
                if k == 12:
                    if end == "error":
                        raise av.error.OSError(19, "No such device")
                    raise av.error.ExitError(-1414092869, "Immediate exit requested")
                yield packet

    @contextmanager
    def fake(*_: Any, **__: Any) -> Iterator[Any]:
        with av.open(str(clip)) as container:
            yield Unplugged(container), container.streams.video[0]

    frames = []
    with pytest.raises(SourceError, match=r"camera 0 went away after \d+ frames"):
        for frame in read_camera(0, open_camera=fake):
            frames.append(frame)
    assert len(frames) >= 5


@pytest.fixture(scope="module")
def transport(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("streams")
    return write_clip(folder / "clip.ts", 60, options={"g": "10"}).read_bytes()


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_stream_that_breaks_is_connected_again(transport: bytes, scheme: str) -> None:
    """First half of it comes, then all; then the server is gone for good."""

    def give(number: int, send: Any) -> None:
        if number < 3:
            pieces(transport if number == 2 else transport[: len(transport) // 2])(number, send)

    warnings: list[str] = []
    frames: list[Frame] = []
    with serving(give, scheme) as server:
        with pytest.raises(SourceError, match=r"is gone after \d+ frames") as caught:
            for frame in read_stream(
                server.address, timeout_s=PATIENCE_S, retries=1, warn=warnings.append
            ):
                frames.append(frame)
        asked = server.asked
    assert asked >= 3
    assert 70 <= len(frames) <= 95, "about 30 and 60: the last of a broken stream may stay away"
    assert "tried 1 times again" in caught.value.hint
    assert sum("connecting again" in w for w in warnings) >= 2
    assert [f.index for f in frames] == list(range(len(frames)))
    times = [f.time_s for f in frames]
    assert times == sorted(times)
    assert frames[-1].pixels.shape == (64, 96, 3)


def test_a_stream_that_stalls_is_given_up_after_a_while(transport: bytes) -> None:
    over, waited_out = threading.Event(), threading.Event()

    def give(number: int, send: Any) -> None:
        send(transport[: len(transport) // 2])
        if not over.wait(PATIENCE_S):
            waited_out.set()

    frames: list[Frame] = []
    warnings: list[str] = []
    try:
        with serving(give) as server, pytest.raises(SourceError, match="is gone after"):
            for frame in read_stream(server.address, timeout_s=2, retries=1, warn=warnings.append):
                frames.append(frame)
                if server.asked > 1:
                    server.stop()
        assert not waited_out.is_set(), "it does not wait for ever"
    finally:
        over.set()
    assert len(frames) > 10
    assert "connecting again" in warnings[0]


def test_images_of_a_network_camera() -> None:
    frames = [image(k) for k in range(12)]
    with serving(jpegs(frames, 0.02), kind="multipart/x-mixed-replace;boundary=next") as server:
        seen = read_stream(server.address, timeout_s=PATIENCE_S, retries=0)
        first = next(seen)
        assert np.abs(first.pixels.astype(int) - frames[0]).mean() < 4
        times = [first.time_s, *(f.time_s for f, _ in zip(seen, range(10), strict=False))]
        seen.close()  # type: ignore[attr-defined]
    assert times == sorted(times)


def test_a_stream_live_without_a_window(transport: bytes) -> None:
    """As a developer would use it: lines of JSON while it goes on, ended by Ctrl-C."""

    def give(number: int, send: Any) -> None:
        while True:
            pieces(transport, 0.02)(number, send)

    with serving(give) as server:
        command = [MIEN, "live", server.address, "--headless", "--threads", "1"]
        with child(command, stdout=PIPE, stderr=PIPE, text=True) as process:
            assert process.stdout
            rows = [json.loads(process.stdout.readline()) for _ in range(8)]
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert {row["source"] for row in rows} == {server.address}
    assert [row["frame"] for row in rows] == sorted(row["frame"] for row in rows)
    assert all(row["track"] is None for row in rows), "there is no face in it"


def test_a_file_on_a_web_server_ends_when_it_ends(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 20)
    command = [sys.executable, "-m", "http.server", "0", "--bind", "127.0.0.1", "-d", str(tmp_path)]
    more = {"stdout": PIPE, "stderr": DEVNULL, "text": True, "env": {"PYTHONUNBUFFERED": "1"}}
    with child(command, **more) as server:
        assert server.stdout
        port = server.stdout.readline().split(" port ")[1].split()[0]
        from_web = list(reader().stream(f"http://127.0.0.1:{port}/clip.mp4", settings=SETTINGS))
    from_file = list(reader().stream(clip, settings=SETTINGS))
    assert [r.faces for r in from_web] == [r.faces for r in from_file]
    assert [r.pts for r in from_web] == [r.pts for r in from_file]


def test_an_address_that_never_answered_fails_at_once() -> None:
    with pytest.raises(SourceError, match="cannot read"):
        list(read_stream("http://127.0.0.1:9/none.ts", timeout_s=0.5))


def test_without_a_screen_the_window_says_what_to_do(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 6)
    without = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [MIEN, "live", str(clip), "--threads", "1"],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S, env=without,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: th")  # there is no screen; or: this Python has no Tk
    assert "--headless" in done.stderr.splitlines()[1]
    assert "Traceback" not in done.stderr
