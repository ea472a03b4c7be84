"""Live sources: cameras and network streams, with reconnection and a timeout."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mien.errors import SourceError
from mien.video.decode import frames_of, load_av, opened, reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.video.frame import Frame

SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "srt://", "tcp://")
TIMEOUT_S = 10.0
"""A source that sends nothing for this many seconds has stalled."""
RETRIES = 5
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each reconnection; the count restarts once a frame arrives."""


def is_stream(address: str) -> bool:
    """Return whether an address is a network stream's."""
    return address.lower().startswith(SCHEMES)


def read_stream(
    address: str,
    *,
    timeout_s: float = TIMEOUT_S,
    retries: int = RETRIES,
    warn: Callable[[str], None] = lambda text: None,
) -> Iterator[Frame]:
    """Yield the frames of an RTSP, HTTP or other network stream; reconnect when it breaks.

    A video of known length, such as a file on a web server, ends when it ends. Times count from
    the first connection's start; frames missed between two connections are a gap in them.

    Args:
        address: URL of the stream.
        timeout_s: seconds without data after which the connection is given up.
        retries: reconnections in a row before the stream is given up.
        warn: called with one line for each reconnection.

    Raises:
        SourceError: the stream cannot be opened, or stays away after `retries` reconnections.
    """
    av = load_av()
    started = time.monotonic()
    failures, offset, index, newest, why = 0, 0.0, 0, 0.0, "it ended"
    options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
    while True:
        try:
            with opened(address, address, options=options, timeout_s=timeout_s) as (box, stream):
                finite = bool(box.duration)
                for frame in frames_of(box, stream, address, offset_s=offset, warn=warn):
                    # Each connection counts its frames from 0; the source's numbers continue.
                    yield replace(frame, index=index)
                    index, failures, newest = index + 1, 0, frame.time_s
                if finite:
                    return
                why = "it ended"
        except SourceError as error:
            if index == 0:
                raise  # an address that never gave a frame is more likely wrong than broken
            why = error.message
        except (av.error.FFmpegError, OSError) as error:
            why = reason(error)
        if failures >= retries:
            raise _stream_gone(address, index, why, retries)
        pause = PAUSES_S[min(failures, len(PAUSES_S) - 1)]
        failures += 1
        warn(f"{address}: {why}; connecting again in {pause:g} s ({failures} of {retries})")
        time.sleep(pause)
        # A stream may have come faster than its own clock goes; time never steps back.
        offset = max(time.monotonic() - started, newest + 1e-3)


def _stream_gone(address: str, count: int, why: str, retries: int) -> SourceError:
    return SourceError(
        f"the stream {address} is gone after {count} frames: {why}",
        hint=f"it was tried {retries} times again; check the address and the network",
    )


def read_camera(
    number: int, *, timeout_s: float = TIMEOUT_S, open_camera: Any = None
) -> Iterator[Frame]:
    """Yield a camera's frames; times are seconds since the first.

    Args:
        number: of the camera, 0 is the first.
        timeout_s: seconds without a frame after which the camera is given up.
        open_camera: replaces `mien.video.decode.opened`, for tests.

    Raises:
        SourceError: no such camera, or it went away.
    """
    kind, address, options = _camera(number)
    name = f"camera {number}"
    count = 0
    try:
        make = open_camera or opened
        with make(address, name, kind=kind, options=options, timeout_s=timeout_s) as (box, stream):
            first: float | None = None
            for frame in frames_of(box, stream, name):
                # Some drivers count from the machine's start.
                first = frame.time_s if first is None else first
                count += 1
                yield replace(frame, time_s=frame.time_s - first)
    except SourceError as error:
        if count:
            raise _camera_gone(name, count, error.message) from error
        raise SourceError(
            f"{name} cannot be opened: {error.message.partition(': ')[2] or error.message}",
            hint="is it plugged in, free, and allowed for this program? try another number, such "
            "as camera:1, or give a video file or a stream's address instead",
        ) from error
    except OSError as error:
        raise _camera_gone(name, count, reason(error)) from error
    raise _camera_gone(name, count, "it sends no more frames")


def _camera_gone(name: str, count: int, why: str) -> SourceError:
    return SourceError(
        f"{name} went away after {count} frames: {why}", hint="plug it in and start again"
    )


def _camera(number: int) -> tuple[str, str, dict[str, str]]:
    """Return FFmpeg's format, name and options of a camera on this system."""
    rate = {"framerate": "30"}
    if sys.platform == "darwin":
        return "avfoundation", f"{number}:none", rate
    if sys.platform == "win32":
        return "dshow", f"video={number}", {"video_device_number": str(number)}
    # Most USB cameras give 30 frames/s at full size only as JPEG.
    return "v4l2", f"/dev/video{number}", {"input_format": "mjpeg", **rate}
