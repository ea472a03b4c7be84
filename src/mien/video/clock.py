"""Times of frames: one clock that only moves forward, whatever the container's clock does.

A container's clock may start anywhere, restart in the middle (joined files, broadcasts), jump by
hours, or be missing. The times here start where the player's do and rise from frame to frame.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

DISCONTINUOUS = frozenset({"mpegts", "mpeg", "ogg", "live_flv", "hls", "rtp", "rtsp", "sdp"})
"""Containers whose clock may jump; in others a gap is intended."""
MAX_JUMP_S, MAX_GAP_S = 10, 3600
"""Longer gaps are taken for a jump of the clock: in those containers (FFmpeg's own value), and in
the others."""
JITTER_FRAMES = 3
"""A step back by up to so many frames is a wrong timestamp, a longer one a restarted clock."""
MAX_WARNINGS = 3


def container_kind(container: Any) -> str:
    """Return FFmpeg's name of a container, such as 'mpegts'; the first where it has several."""
    return str(container.format.name).partition(",")[0]


class Clock:
    """Times of one stream's frames or packets, in seconds, and the frames' numbers.

    Args:
        container: PyAV's, opened for reading.
        stream: of video or sound.
        offset_s: added to all times: for streams that were connected again.
        warn: called with one line for each jump.
        name: of the source, for these lines.
    """

    def __init__(
        self,
        container: Any,
        stream: Any,
        offset_s: float = 0.0,
        warn: Callable[[str], None] = lambda text: None,
        name: str = "",
    ) -> None:
        self._stream, self._warn, self._name = stream, warn, name
        # Fractions throughout: sums of floats would drift by frames over hours.
        self._base: Fraction = stream.time_base or Fraction(1, 90_000)
        rate = getattr(stream, "average_rate", None) or getattr(stream, "guessed_rate", None)
        self.rate: Fraction = rate or Fraction(30)
        self._step = 1 / self.rate
        # The player's clock starts where the first of all streams does, in microseconds.
        start = container.start_time
        own = stream.start_time
        self._start = Fraction(start, 1_000_000) if start is not None else Fraction(0)
        if own is not None and abs(own * self._base - self._start) < Fraction(1, 500_000):
            self._start = own * self._base  # the same moment, without the microseconds' rounding
        self._first: int | None = own
        self._offset = Fraction(offset_s)
        kind = container_kind(container)
        self._limit = Fraction(MAX_JUMP_S if kind in DISCONTINUOUS else MAX_GAP_S)
        # AVI has no presentation times. FFmpeg makes some up, which are
        # wrong where frames are reordered; the decoder gives frames in order, with decoding times.
        self.by_dts = kind == "avi"
        self._shown: tuple[int, Fraction] | None = None
        self._origin = self._start
        self._last: Fraction | None = None
        self._decoded: Fraction | None = None
        self._gap = Fraction(0)
        self._newest: Fraction | None = None
        self._next = self._jumps = 0
        self.sought = self._begun = False

    def silence(self) -> None:
        """Report no jumps: for a copy that runs ahead of the clock that does."""
        self._warn = lambda text: None

    def to_pts(self, time_s: float) -> int:
        """Return the timestamp of a moment, where the clock did not jump before it."""
        return int((Fraction(time_s) + self._start) / self._base)

    def missing_s(self) -> float:
        """Return how many seconds of the stream's own length are missing; 0 where it has none."""
        last = self._newest
        if last is None:
            return 0.0
        last += self._step
        if self._stream.duration is not None:
            end = ((self._first or 0) + self._stream.duration) * self._base
            return float(end - last)
        # Matroska writes each stream's end as text, such as 00:00:02.000000000: FFmpeg on the
        # container's clock, others since the stream's start.
        words = self._stream.metadata.get("DURATION", "0:0:0").split(":")
        try:
            hours, minutes, seconds = (float(word) for word in words)
        except ValueError:
            return 0.0
        end_s = 3600 * hours + 60 * minutes + seconds
        started = float((self._first or 0) * self._base)
        return end_s - float(last) + (started if end_s <= started else 0.0)

    @property
    def step_s(self) -> float:
        """Seconds that the last frame is shown."""
        return float(max(self._step, min(self._gap, self._limit)))

    def frame(self, decoded: Any) -> tuple[int, float, int | None]:
        """Return a decoded frame's number, time in seconds, and timestamp; call it in order."""
        stamp = decoded.dts if self.by_dts else decoded.pts
        base = decoded.time_base or self._base  # a filter may have changed it
        if self.by_dts:
            base = self._base
        # Only when it changes: arithmetic with fractions is slow.
        if decoded.duration and (decoded.duration, base) != self._shown:
            self._shown = decoded.duration, base
            self._step = decoded.duration * base
        if stamp is None and self.by_dts and self._newest is not None:
            stamp = round(
                (self._newest + self._step) / base
            )  # a frame that the decoder kept to the end
        if stamp is None:
            exact = self._next / self.rate if self._last is None else self._last + self._step
        else:
            raw = stamp * base
            self._newest = raw if self._newest is None else max(raw, self._newest)
            exact = self._in_order(raw - self._origin)
            if self.sought:
                # Only after seeking: the number follows from the time and the rate.
                self._next = round((raw - (self._first or 0) * self._base) * self.rate)
                self.sought = False
        self._last = exact
        index, self._next = self._next, self._next + 1
        return index, float(exact + self._offset), stamp

    def _in_order(self, exact: Fraction) -> Fraction:
        if self._last is None:
            if exact < 0 and not (self.sought or self._begun):
                self._origin += exact  # no frame is before the start
                return Fraction(0)
            return exact
        gap = exact - self._last
        if 0 < gap <= self._limit:  # the usual case
            self._gap = gap
            return exact
        if -JITTER_FRAMES * self._step <= gap <= 0:
            # A little later than the last, since rows need rising times; the next timestamp
            # corrects it.
            return self._last + self._step / 8
        # A gap ten times the last one is a jump only where gaps are small: time-lapse videos have
        # long ones.
        if gap < 0 or gap > 10 * max(self._gap, self._step):
            return self._jump(exact, gap, self._last, f"frame {self._next:,}")
        self._gap = gap
        return exact

    def _jump(self, exact: Fraction, gap: Fraction, last: Fraction, where: str) -> Fraction:
        """Continue the time one frame after the last."""
        self._origin -= last + self._step - exact
        self._jumps += 1
        if self._jumps <= MAX_WARNINGS:
            way = "back" if gap < 0 else "forward"
            more = "; further jumps are not reported" if self._jumps == MAX_WARNINGS else ""
            self._warn(
                f"{self._name}: the clock jumps {way} by {abs(float(gap)):,.1f} s at {where}; "
                f"times continue without the jump{more}"
            )
        return last + self._step

    def packet(self, packet: Any) -> tuple[Fraction, Fraction]:
        """Return when a packet is shown and decoded, in seconds; call it in order of decoding.

        Jumps show in the decoding times, and are removed so that the first packet after one is
        shown right after all before it.
        """
        if packet.duration:
            self._step = packet.duration * self._base
        dts = packet.dts if packet.dts is not None else packet.pts
        pts = packet.pts if packet.pts is not None and not self.by_dts else dts
        if pts is None or dts is None:
            shown = Fraction(0) if self._last is None else self._last + self._step
            self._last = shown
            return shown, shown
        decoded, shown = dts * self._base, pts * self._base
        if self._decoded is not None and self._last is not None:
            gap = decoded - self._decoded
            limit = max(self._limit, 10 * self._gap, 10 * self._step)
            if gap < -JITTER_FRAMES * self._step or gap > limit:
                self._jump(shown - self._origin, gap, self._last, f"{float(self._last):.1f} s")
            else:
                self._gap = max(gap, Fraction(0))
        self._decoded = decoded
        decoded, shown = decoded - self._origin, shown - self._origin
        self._last = shown if self._last is None else max(shown, self._last)
        return shown, decoded

    @property
    def shift(self) -> Fraction:
        """What is added to the container's own times, by the jumps so far; for `begin_at`."""
        return self._start - self._origin

    def begin_at(self, number: int, shift: Fraction) -> None:
        """Let the next frame be `number`, after packets that are not decoded.

        Args:
            number: how many frames come before it.
            shift: of another clock, which has seen their packets.
        """
        self._next, self._origin, self._begun = number, self._start - shift, True
