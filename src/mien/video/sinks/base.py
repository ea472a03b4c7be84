"""What takes the results of a video: open, write each frame, then close or abort."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.errors import SourceError
    from mien.types import FrameReading
    from mien.video.frame import FrameResult
    from mien.video.summary import Summary


class StopSession(Exception):
    """Raised by `Sink.write` to end a session early; what was written until then is kept.

    Args:
        reason: stands as the error in the summary; None where the end was asked for.
    """

    def __init__(self, reason: SourceError | None = None) -> None:
        super().__init__("" if reason is None else reason.message)
        self.reason = reason


class Sink(ABC):
    """Takes the results of one source; `Session.run` calls its methods in this order.

    `replay` (only where a run is resumed), `open`, `write` for each frame, and then either
    `close` or, after any error, `abort`. A file gets its final name in `close`; `abort` leaves none
    under it. `abort` may also follow `close`, where another sink failed to close.

    Attributes:
        needs_pixels: whether `write` looks at the pixels of frames that are not classified. Where
            no sink of a session does, frames that nobody looks at may stay undecoded.
    """

    needs_pixels = True

    @property
    def resumable(self) -> bool:
        """Whether `replay` can rebuild what an earlier run had, from its rows alone."""
        return False

    def replay(self, reading: FrameReading) -> None:  # noqa: B027  (most sinks need nothing)
        """Take in a frame that an earlier run has written; called before `open`."""

    def open(self) -> None:  # noqa: B027
        """Prepare for the first frame."""

    @abstractmethod
    def write(self, result: FrameResult) -> None:
        """Take in a frame.

        Raises:
            StopSession: to end the session here.
        """

    def close(self, summary: Summary) -> None:  # noqa: B027
        """Finish; `summary.error` says whether the source broke off."""

    def abort(self) -> None:  # noqa: B027
        """Release what is open and leave no half-written file; must not raise."""
