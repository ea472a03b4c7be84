"""One participant in one session: a value for each frame of the video, seen or not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.sessions.design import Participant, Session

CLIP = 0.001
"""Probabilities are kept this far from 0 and 1, where log-odds have no value; rows have four
decimals, and a network's last thousandth is not calibrated."""
NONE = -1
"""Number of what is not there: a track, a label, a reason."""


def log_odds(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(p / (1 - p)) of probabilities, any shape; nan stays nan."""
    kept = np.clip(p, CLIP, 1 - CLIP)
    return np.asarray(np.log(kept / (1 - kept)))


@dataclass(slots=True)
class Recording:
    """The rows of a participant in a session, n frames and k labels.

    Attributes:
        session: where.
        participant: who.
        labels: the model's labels, k.
        step_s: usual seconds between two frames.
        frame_n: int64 [n], numbers of the video's frames.
        time_n: float64 [n], seconds.
        track_n: int32 [n], NONE where the participant was not seen.
        quality_n: int16 [n], index into `qualities`, NONE where not seen.
        qualities: 'good', or why a face was not classified.
        label_n: int16 [n], index into `label_names`, NONE without a prediction.
        label_names: the labels and 'unsure'.
        unsure_n: bool [n].
        confidence_n: float64 [n], nan without a prediction.
        p_nk: float64 [n, k], nan without a prediction.
        pose_n3: float64 [n, 3], yaw, pitch and roll in degrees, nan where they are not known.
        excluded_n: int32 [n], index into `reasons`, NONE where nothing is left out.
        reasons: why frames are left out.
        condition_n: int32 [n], index into the study's conditions.
        stimulus_n: int32 [n], index into the study's stimuli, NONE without.
        corrected_n: int32 [n], index into the study's corrections, NONE without.
    """

    session: Session
    participant: Participant
    labels: tuple[str, ...]
    step_s: float
    frame_n: NDArray[np.int64]
    time_n: NDArray[np.float64]
    track_n: NDArray[np.int32]
    quality_n: NDArray[np.int16]
    qualities: tuple[str, ...]
    label_n: NDArray[np.int16]
    label_names: tuple[str, ...]
    unsure_n: NDArray[np.bool_]
    confidence_n: NDArray[np.float64]
    p_nk: NDArray[np.float64]
    pose_n3: NDArray[np.float64]
    excluded_n: NDArray[np.int32] = field(init=False)
    reasons: list[str] = field(init=False, default_factory=list)
    condition_n: NDArray[np.int32] = field(init=False)
    stimulus_n: NDArray[np.int32] = field(init=False)
    corrected_n: NDArray[np.int32] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.time_n)
        self.excluded_n = np.full(n, NONE, np.int32)
        self.condition_n = np.zeros(n, np.int32)
        self.stimulus_n = np.full(n, NONE, np.int32)
        self.corrected_n = np.full(n, NONE, np.int32)

    @property
    def span_s(self) -> tuple[float, float]:
        """Start of the first frame and end of the last, in seconds."""
        return float(self.time_n[0]), float(self.time_n[-1]) + self.step_s

    @property
    def used_n(self) -> NDArray[np.bool_]:
        """bool [n]: frames with a prediction that nothing leaves out."""
        return np.asarray(~np.isnan(self.p_nk[:, 0]) & (self.excluded_n == NONE))

    def between(self, start_s: float, end_s: float) -> slice:
        """Return the frames from `start_s` up to, not including, `end_s`."""
        # Times have six decimals, so that a frame at the boundary itself is never lost by rounding.
        first, last = np.searchsorted(self.time_n, [start_s - 1e-7, end_s - 1e-7])
        return slice(int(first), int(last))
