"""Skips the decoding of frames that nobody looks at and that no other frame needs.

About every second frame of a video is neither detected nor classified. Where the encoder made it a
non-reference frame (B frames of H.264 and HEVC, mostly), the decoder may drop it without changing
any other frame; its time comes from its packet. The plan of `VideoSettings` depends on nothing but
the frames' order and times, so it is known before anything is decoded.
"""

from __future__ import annotations

import copy
import heapq
from collections import deque
from typing import TYPE_CHECKING, Any

from mien.video.clock import container_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mien.video.clock import Clock

    LooksAt = Callable[[int, float], bool]

CONTAINERS = frozenset({"mov", "matroska"})
"""Containers, by the first of FFmpeg's names, whose packets have reliable presentation times."""
CODECS = frozenset({"h264", "hevc"})
"""Codecs whose non-reference frames FFmpeg can tell from the others."""
AHEAD = 24
"""Packets that are prefetched, to know the order of display: H.264 reorders at most 16 frames."""
PROGRESSIVE = 1
"""FFmpeg's field order of frames that are not interlaced; 0 is unknown."""
WARM_UP, UNKNOWN_WARM_UP = 8, 40
"""Packets that are always decoded at the start; more where the field order is unknown, so that the
first decoded frames tell it."""


def can_skip(container: Any, stream: Any, clock: Clock) -> bool:
    """Return whether frames of a stream can be skipped, by its container and codec."""
    known = container_kind(container) in CONTAINERS and stream.codec_context.name in CODECS
    return known and not clock.by_dts and _field_order(stream.codec_context) <= PROGRESSIVE


def _field_order(codec: Any) -> int:
    return int(getattr(codec, "field_order", 0))


class Skipper:
    """Decides which packets the decoder may skip, and gives back those that it did skip.

    Args:
        codec: PyAV's codec context.
        clock: of the frames; it is copied, never changed.
        looks_at: whether a frame is looked at, by its number among the selected ones and its time
            in seconds; called once for each, in order.
        start_s: frames before it are not selected.
    """

    def __init__(self, codec: Any, clock: Clock, looks_at: LooksAt, start_s: float) -> None:
        self._codec, self._source_clock = codec, clock
        self._looks_at, self._start_s = looks_at, start_s
        self._clock: Clock | None = None
        self._position = self._sent = 0
        self._waiting: list[tuple[int, int, Any]] = []
        self._last: int | None = None
        self._needed: dict[int, bool] = {}
        self._open: dict[int, Any] = {}
        """Packets that were sent as skippable, by timestamp, and did not give a frame so far."""
        self._stopped = False
        known = _field_order(codec) == PROGRESSIVE
        self._warm_up = WARM_UP if known else UNKNOWN_WARM_UP

    def stop(self) -> None:
        """Decode everything from now on; for interlaced videos, whose frames need each other."""
        self._stopped = True

    def send(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yield the packets in their order; set what the decoder may do with each before it."""
        for packet in self._planned(packets):
            self._sent += 1
            needed = self._needed.pop(packet.pts, True) if packet.size else True
            skip = not (needed or self._stopped or self._sent <= self._warm_up)
            self._codec.skip_frame = "NONREF" if skip else "DEFAULT"
            if skip:
                self._open[packet.pts] = packet
            yield packet

    def merge(self, decoded: Iterator[Any]) -> Iterator[Any]:
        """Yield decoded frames and errors, and the packets of skipped frames, in display order."""
        for item in decoded:
            if not isinstance(item, BaseException):
                # Reference frames are decoded also where they may be skipped.
                if item.pts in self._open:
                    del self._open[item.pts]
                yield from self._skipped(item.pts)
            yield item
        yield from self._skipped(None)

    def _skipped(self, before: int | None) -> list[Any]:
        """Return the packets of skipped frames that are shown before a timestamp, or of all."""
        shown = sorted(pts for pts in self._open if before is None or pts < before)
        return [self._open.pop(pts) for pts in shown]

    def _planned(self, packets: Iterator[Any]) -> Iterator[Any]:
        """Yield the packets in their order, with the plan made for all that are shown before."""
        queue: deque[Any] = deque()
        broken: Exception | None = None
        while True:
            while broken is None and len(queue) <= AHEAD:
                try:
                    queue.append(next(packets))
                except StopIteration:
                    break
                except Exception as error:  # noqa: BLE001  (raised below, after the packets before)
                    broken = error
                    break
                self._take(queue[-1])
            if not queue:
                break
            packet = queue.popleft()
            self._plan(packet)
            yield packet
        if broken is not None:
            raise broken

    def _take(self, packet: Any) -> None:
        if self._clock is None:
            # Not before: seeking sets where the clock starts.
            self._clock = copy.copy(self._source_clock)
            self._clock.silence()
        if not packet.size:
            return
        if packet.pts is None or (self._last is not None and packet.pts <= self._last):
            # No time, or a time before one that was planned already: the plan would be wrong.
            self.stop()
            return
        heapq.heappush(self._waiting, (packet.pts, id(packet), packet))

    def _plan(self, packet: Any) -> None:
        """Plan all frames up to the one of a packet, in order of display."""
        assert self._clock is not None  # noqa: S101  (made with the first packet)
        while self._waiting and packet.size and self._waiting[0][0] <= (packet.pts or 0):
            pts, _, shown = heapq.heappop(self._waiting)
            time_s = self._clock.frame(shown)[1]
            self._last, needed = pts, False
            if time_s >= self._start_s:
                needed = self._looks_at(self._position, time_s)
                self._position += 1
            self._needed[pts] = needed or bool(shown.is_corrupt or shown.is_discard)
