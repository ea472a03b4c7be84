"""Tiny clips for the tests of video, made by PyAV."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

SIZE = (96, 64)


def image(index: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A grey ramp with a bright square that moves two pixels a frame."""
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:] = np.linspace(40, 120, width, dtype=np.uint8)[None, :, None]
    x = 4 + 2 * index % (width - 24)
    pixels[20:36, x : x + 16] = (230, 200, 180)
    return pixels


def write_clip(
    path: Path,
    frames: list[NDArray[np.uint8]] | int = 30,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: int = 30,
    times: list[int] | None = None,
    audio: bool = False,
    rotate: int = 0,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a clip; `times` are timestamps in milliseconds, for a variable frame rate."""
    images = [image(i) for i in range(frames)] if isinstance(frames, int) else frames
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2] if images else SIZE[::-1]
        stream.pix_fmt = pixels
        if times is not None:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        sound: Any = container.add_stream("aac", rate=16_000, layout="mono") if audio else None
        for index, content in enumerate(images):
            frame = av.VideoFrame.from_ndarray(content, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            if rotate:
                frame.rotation = rotate
            container.mux(stream.encode(frame))
            if sound is not None:
                container.mux(sound.encode(_beep(index, rate)))
        container.mux(stream.encode())
        if sound is not None:
            container.mux(sound.encode())
    return path


def _beep(index: int, rate: int) -> Any:
    count = 16_000 // rate
    wave = np.sin(np.arange(count) * 0.17)[None].astype(np.float32)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = 16_000
    frame.pts, frame.time_base = index * count, Fraction(1, 16_000)
    return frame
