"""Baselines: each participant's own log-odds at rest, and changes from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mien.sessions.effective import MeanOf
from mien.sessions.recording import log_odds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.sessions.notes import Notes
    from mien.sessions.recording import Recording


@dataclass(frozen=True, slots=True)
class Baseline:
    """A participant's rest.

    Attributes:
        means: of the log-odds of each label, k; empty where there is no baseline.
        origin: 'session' where it is of the session itself, 'other sessions', or why there is none.
    """

    means: tuple[MeanOf, ...]
    origin: str

    @property
    def level_k(self) -> NDArray[np.float64] | None:
        """float64 [k], mean log-odds at rest; None where there is no baseline."""
        return np.array([one.mean for one in self.means]) if self.means else None

    @property
    def half_k(self) -> NDArray[np.float64] | None:
        """float64 [k], half of the 95% interval of each; None where there is no baseline."""
        return np.array([one.half for one in self.means]) if self.means else None


def baselines(recordings: Sequence[Recording], notes: Notes) -> list[Baseline]:
    """Return the baseline of each recording, in order.

    A session's rest segment serves its own participants; a session without one gets the pooled
    rest of the same participant's other sessions.
    """
    own = [_own(one, notes) for one in recordings]
    found = []
    for one, means in zip(recordings, own, strict=True):
        if means:
            found.append(Baseline(means, "session"))
            continue
        others = [
            other_means
            for other, other_means in zip(recordings, own, strict=True)
            if other.participant.id == one.participant.id and other_means
        ]
        if others:
            pooled = tuple(MeanOf.pooled(list(parts)) for parts in zip(*others, strict=True))
            found.append(Baseline(pooled, "other sessions"))
        else:
            why = "no rest segment" if one.session.baseline is None else "no face at rest"
            found.append(Baseline((), why))
            if any(other.session.baseline for other in recordings):
                notes.add("baseline", f"{one.participant.id} has no baseline in session "
                          f"{one.session.id}: {why}; changes are empty")  # fmt: skip
    return found


def _own(one: Recording, notes: Notes) -> tuple[MeanOf, ...]:
    span = one.session.baseline
    if span is None:
        return ()
    frames = one.between(*span)
    used = one.used_n[frames]
    if not used.any():
        first, last = one.span_s
        notes.add("baseline", f"{one.participant.id}: no face with a prediction in the rest "
                  f"segment {span[0]:g} to {span[1]:g} s of session {one.session.id} "
                  f"(video: {first:g} to {last:g} s)")  # fmt: skip
        return ()
    odds = log_odds(one.p_nk[frames][used])
    means = tuple(MeanOf.of(np.ascontiguousarray(column)) for column in odds.T)
    if any(np.isnan(mean.variance) for mean in means):
        notes.add("baseline", f"{one.participant.id}: the rest segment {span[0]:g} to {span[1]:g} "
                  f"s of session {one.session.id} is worth fewer than 3 independent frames for "
                  "some labels; their changes have no interval")  # fmt: skip
    return means
