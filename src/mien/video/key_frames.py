"""Key frames of a video file, reduced: for previews while somebody scrubs.

A key frame is decoded alone, while any other frame needs all of those since the key frame before,
ten seconds of them in many videos.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mien.video.clock import Clock
from mien.video.decode import load_av, opened
from mien.video.display import Display, to_rgb
from mien.video.seek import is_indexed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


def key_frames(
    path: Path, times_s: Sequence[float], side: int
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Yield the key frame at or before each of some moments.

    Args:
        path: of a video file. Of a container without an index nothing is yielded: it would have to
            be read from its start each time.
        times_s: moments, in seconds of the player's clock.
        side: longer side of the images, in pixels; smaller frames keep their size.

    Yields:
        The time of the key frame in seconds, and its pixels, uint8 [h, w, 3] RGB. Key frames that
        cannot be decoded are left out.

    Raises:
        SourceError: the file cannot be read.
    """
    av = load_av()
    with opened(f"file:{path}", str(path)) as (container, stream):
        if not is_indexed(container):
            return
        # Threads of frames would hold an image back until the next ones come.
        stream.thread_type = "SLICE"
        stream.codec_context.skip_frame = "NONKEY"
        display = Display(container, stream, lambda line: None, str(path))
        start = Clock(container, stream).to_pts(0.0)
        for time_s in times_s:
            pts = start + int(Fraction(time_s) / stream.time_base)
            try:
                container.seek(pts, stream=stream, backward=True, any_frame=False)
                decoded = _first(container.demux(stream), stream.codec_context)
            except (av.error.FFmpegError, OSError):
                continue
            if decoded is None or decoded.pts is None:
                continue
            width, height, orientation = display.of(decoded)
            scale = min(1.0, side / max(width, height))
            size = (max(round(width * scale), 1), max(round(height * scale), 1))
            shown_s = float((decoded.pts - start) * stream.time_base)
            yield max(shown_s, 0.0), to_rgb(decoded, *size, orientation)


def _first(packets: Iterator[Any], codec: Any) -> Any:
    """Return the first frame that is decoded, or None."""
    for packet in packets:
        if not packet.is_keyframe and packet.size:
            continue
        # The end of the stream, so that the decoder does not wait for frames shown earlier.
        for frame in (*codec.decode(packet), *(codec.decode(None) if packet.size else ())):
            return frame
        return None
    return None
