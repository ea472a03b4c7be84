"""Times of another clock as times of the video: an offset and a drift, given or estimated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import DataError

if TYPE_CHECKING:
    from mien.sessions.design import Clock

MAX_DRIFT_PPM = 10_000.0
"""Drift of 1%; clocks of computers drift by less than a hundredth of it, so that more is a mistake,
such as pairs in the wrong order."""


class Mapping:
    """The line that maps the other clock's seconds to the video's.

    Attributes:
        offset_s: the video's seconds when the other clock says 0.
        drift_ppm: microseconds that the video gains in each second of the other clock.
        residual_s: largest distance of a shared event from the line; 0 where both were given.
    """

    def __init__(self, clock: Clock | None, where: str) -> None:
        self.offset_s, self.drift_ppm, self.residual_s = 0.0, 0.0, 0.0
        if clock is None:
            return
        self.offset_s, self.drift_ppm = clock.offset_s, clock.drift_ppm
        if clock.shared:
            video_n, other_n = np.array(clock.shared).T
            # Least squares around the mean: LSL's clocks count from the start of the computer.
            middle = other_n.mean()
            slope, level = np.polyfit(other_n - middle, video_n, 1)
            self.offset_s = float(level - slope * middle)
            self.drift_ppm = float((slope - 1) * 1e6)
            line = level + slope * (other_n - middle)
            self.residual_s = float(np.abs(video_n - line).max())
        if abs(self.drift_ppm) > MAX_DRIFT_PPM:
            raise DataError(
                f"{where}: the clocks drift by {self.drift_ppm:,.0f} ppm, and at most "
                f"{MAX_DRIFT_PPM:,.0f} is a drift of clocks",
                hint="shared events are [video_s, other_s], and both of one pair are one moment",
            )

    def to_video(self, other_s: float) -> float:
        """Return the video's seconds of a time of the other clock."""
        return self.offset_s + other_s * (1 + self.drift_ppm * 1e-6)
