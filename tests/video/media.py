"""Tiny videos of every kind, made by PyAV and a few patched bytes; and what FFmpeg makes of them.

`decoded` is the reference: FFmpeg's decoder and its own filters, none of our code.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

WIDTH, HEIGHT = 64, 48
ONE = 1 << 16


def image(index: int, width: int = WIDTH, height: int = HEIGHT) -> NDArray[np.uint8]:
    """An image that no turn or mirror leaves as it is, with a square that moves."""
    across = np.linspace(30, 190, width)[None, :, None]
    down = np.linspace(0, 60, height)[:, None, None]
    pixels = (across + down + np.array([0, 10, -20])).clip(0, 255).astype(np.uint8)
    x = 4 + 3 * index % (width - 16)
    pixels[6:18, x : x + 12] = (250, 240, 20)
    return pixels


def matrix(a: int, b: int, c: int, d: int) -> list[int]:
    """A display matrix: a point (x, y) is shown at (a x + c y, b x + d y)."""
    return [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]


def encode(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 8,
    rate: Fraction | int = 30,
    format: str | None = None,
    pixels: str = "yuv420p",
    gop: int = 4,
    b_frames: int = 0,
    aspect: Fraction | None = None,
    turn: Sequence[int] | None = None,
    start_s: Fraction | int = 0,
    times_ms: Sequence[int] | None = None,
    coder: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
) -> Path:
    """Write a video of `image`s."""
    preset = {"preset": "ultrafast"} if codec in ("libx264", "libx265") else {}
    if codec == "libx265":
        preset["x265-params"] = f"log-level=none:bframes={b_frames}"
    with av.open(str(path), "w", format=format, options=muxer or {}) as box:
        stream: Any = box.add_stream(codec, rate=rate, options={**preset, **(coder or {})})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        base = Fraction(1, 1000) if times_ms is not None else 1 / Fraction(rate)
        stream.codec_context.time_base = base
        stream.codec_context.gop_size = gop
        stream.codec_context.max_b_frames = b_frames
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn is not None:
            stream.set_display_matrix(turn)
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(image(index), format="rgb24")
            frame.time_base = base
            frame.pts = times_ms[index] if times_ms is not None else index
            frame.pts += round(start_s / base)
            box.mux(stream.encode(frame))
        box.mux(stream.encode())
    return path


def joined(path: Path, *parts: Path) -> Path:
    """Write the bytes of several files one after another."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def remux(path: Path, source: Path, at: Sequence[int] = (), shift_s: int = 0) -> Path:
    """Copy packets into another file; from the packets numbered `at` on, times are shifted more."""
    with av.open(str(source)) as box, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(box.streams.video[0])
        shift = count = 0
        for packet in box.demux(video=0):
            if packet.dts is None or packet.pts is None:
                continue
            if count in at:
                shift += round(shift_s / packet.time_base)
            count += 1
            packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
            out.mux(packet)
    return path


def animation(path: Path, frames: int = 8) -> Path:
    """Write an animated image with Pillow; the kind is the suffix's."""
    first, *more = [Image.fromarray(image(k)) for k in range(frames)]
    options: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {}
    if path.suffix == ".avif":
        options = {"quality": 90, "speed": 10}
    first.save(path, save_all=True, append_images=more, duration=100, **options)
    return path


def decoded(path: Path, filters: str = "") -> list[tuple[Fraction | None, NDArray[np.uint8]]]:
    """Return (time since the container's start, or None; pixels) of each frame, by FFmpeg.

    Args:
        path: of the video.
        filters: FFmpeg's, such as 'scale=128:48,transpose=clock'.
    """
    frames: list[tuple[Fraction | None, NDArray[np.uint8]]] = []
    with av.open(str(path)) as box:
        stream = box.streams.video[0]
        start = Fraction(box.start_time or 0, 1_000_000)
        graph = _graph(stream, filters) if filters else None
        try:
            for frame in box.decode(stream):
                base = frame.time_base
                time = None if frame.pts is None or base is None else frame.pts * base - start
                if graph is not None:
                    graph.push(frame)
                    frame = graph.vpull()
                frames.append((time, frame.to_ndarray(format="rgb24")))
        except av.error.FFmpegError:
            pass  # damaged from here on
    return frames


def _graph(stream: Any, filters: str) -> Any:
    graph = av.filter.Graph()
    parts = [part.partition("=") for part in filters.split(",")]
    chain = [graph.add_buffer(template=stream, time_base=stream.time_base)]
    chain += [graph.add(name, arguments or None) for name, _, arguments in parts]
    chain.append(graph.add("buffersink"))
    for before, after in pairwise(chain):
        before.link_to(after)
    graph.configure()
    return graph
