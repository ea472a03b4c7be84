"""Seeking: where decoding starts, so that no frame from a moment on is missing.

Containers with an index are sought in, and trusted only where they land on a key frame at or
before the moment. Others (MPEG-TS, MPEG-PS, raw streams, clocks that jump) are demuxed from the
start without being decoded, which is fast.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from mien.video.clock import container_kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.video.clock import Clock

INDEXED = frozenset({"mov", "matroska", "avi", "flv", "asf", "mxf"})
"""Containers that are sought in, by the first of FFmpeg's names: 'mov' stands for MP4 too."""
MAX_BUFFERED = 64_000_000
"""Bytes of packets that wait for a later key frame; above, decoding starts early."""
ROUNDING_S = 1e-6
IDR = 5
"""H.264's NAL unit type of an image that depends on none before it."""


def is_indexed(container: Any) -> bool:
    """Return whether a container's own seeking is used."""
    return container_kind(container) in INDEXED


def packets_from(
    av: Any, container: Any, stream: Any, start_s: float, clock: Clock, scout: Clock
) -> Iterator[Any]:
    """Yield the packets from a key frame on that is shown at `start_s` or before.

    Args:
        av: PyAV.
        container: freshly opened.
        stream: of it.
        start_s: in seconds of the player's clock; 0 yields all.
        clock: of the frames; its start is set here.
        scout: a second clock of the stream, for packets.
    """
    if start_s <= 0:
        return container.demux(stream)  # type: ignore[no-any-return]
    # In AVI the numbers of reordered frames cannot be computed from their times.
    if is_indexed(container) and not (clock.by_dts and stream.codec_context.has_b_frames):
        found = _seek(av, container, stream, start_s, clock)
        if found is not None:
            return found
    return _demux_from_start(av, container.demux(stream), start_s, clock, scout)


def _seek(
    av: Any, container: Any, stream: Any, start_s: float, clock: Clock
) -> Iterator[Any] | None:
    """Return the packets from where FFmpeg finds the moment; None, at the start, if it is late."""
    try:
        container.seek(clock.to_pts(start_s), stream=stream, backward=True, any_frame=False)
        packets = container.demux(stream)
        first = next(packets)
        if first.pts is not None and not _is_complete(first, stream.codec_context):
            # One key frame earlier, from which the refresh completes in time.
            container.seek(first.pts - 1, stream=stream, backward=True, any_frame=False)
            packets = container.demux(stream)
            first = next(packets)
        shown = first.dts if clock.by_dts else first.pts
        if first.is_keyframe and shown is not None and shown <= clock.to_pts(start_s + ROUNDING_S):
            clock.sought = True
            return chain([first], packets)
    except (av.error.FFmpegError, OSError, StopIteration):
        pass
    try:
        container.seek(stream.start_time or 0, stream=stream, backward=True, any_frame=False)
    except (av.error.FFmpegError, OSError):
        container.seek(0)
    return None


def _is_complete(packet: Any, codec: Any) -> bool:
    """Return whether a key frame can be shown at once.

    With H.264's intra refresh, containers mark as key frame the start of a refresh, and complete
    images come some frames later. Other codecs are trusted.
    """
    extra = codec.extradata or b""
    if codec.name != "h264" or extra[:1] != b"\1":
        return True
    # avcC: two bits give the size of the length field before each NAL unit (ISO 14496-15).
    content, at, length = bytes(packet), 0, (extra[4] & 3) + 1
    while at + length < len(content):
        if content[at + length] & 31 == IDR:
            return True
        at += length + int.from_bytes(content[at : at + length], "big")
    return False


def _demux_from_start(
    av: Any, packets: Iterator[Any], start_s: float, clock: Clock, scout: Clock
) -> Iterator[Any]:
    """Yield the packets from the last key frame but one before the moment on.

    From the last but one, because with intra refresh the last is not a complete image.
    """
    buffered: list[Any] = []
    keys: list[tuple[int, int, Fraction]] = []
    """Of the key frames: index in `buffered`, number in the stream, the clock's shift there."""
    count = size = 0
    broken: Exception | None = None
    try:
        for packet in packets:
            shown, decoded = scout.packet(packet) if packet.size else (Fraction(0), Fraction(0))
            if packet.size and packet.is_keyframe and shown <= start_s + ROUNDING_S:
                keys.append((len(buffered), count, scout.shift))
                if len(keys) > 2:
                    cut = keys[1][0]
                    del buffered[:cut]
                    keys = [(place - cut, number, shift) for place, number, shift in keys[1:]]
                    size = sum(p.size for p in buffered)
                    clock.begin_at(*keys[0][1:])
            buffered.append(packet)
            size += packet.size
            count += bool(keys)
            # By decoding time: frames shown earlier may still follow a packet that is shown later.
            if decoded > start_s or size > MAX_BUFFERED:
                break
    except (av.error.FFmpegError, OSError) as error:
        broken = error
    yield from buffered
    if broken is not None:
        raise broken
    for packet in packets:  # not 'yield from', which PyAV's generator breaks once it has ended
        yield packet
