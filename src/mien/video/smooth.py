"""Probabilities of one track over time: smoothed by seconds, or cut into segments.

Every instance of the classes here belongs to one track.

One-euro: Casiez, Roussel, Vogel, "1€ Filter", CHI 2012. Segments: a hidden Markov model that
stays or changes, decoded by Viterbi (1967) with a fixed lag, so that memory is bounded.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.errors import ConfigError, did_you_mean
from mien.video.pace import lost_after

if TYPE_CHECKING:
    from numpy.typing import NDArray

METHODS = ("exponential", "one-euro", "none")
TIME_CONSTANT_S = 0.15
"""Default in seconds: a sudden change shows after a tenth of a second."""
FORGET_S = 1.0
"""After a gap of so many seconds, or of some sampling intervals, smoothing starts again."""
FADE_INTERVALS = 0.5
"""Minimum time constant in sampling intervals: one wrong prediction among rare ones is still damped
by an eighth, and a change still shows at once."""


class Smoother(Protocol):
    """Takes a track's probabilities in and returns smoothed ones; times must not go back."""

    def add(
        self, time_s: float, probs_k: NDArray[np.float32], every_s: float = 0.0
    ) -> NDArray[np.float32]:
        """Add the probabilities of a moment; return the smoothed ones, which sum to 1.

        Args:
            time_s: the moment in seconds.
            probs_k: float32 [number of labels].
            every_s: usual seconds from one classification to the next.
        """
        ...


def make_smoother(method: str, seconds: float = TIME_CONSTANT_S) -> Smoother:
    """Return a new smoother for one track.

    Raises:
        ConfigError: an unknown method, or a negative time.
    """
    if seconds < 0:
        raise ConfigError(f"smooth_s: {seconds} is out of range, 0 or more", hint="e.g. 0.15")
    if method == "exponential":
        return Exponential(seconds)
    if method == "one-euro":
        return OneEuro()
    if method == "none":
        return Exponential(0.0)
    raise ConfigError(
        f"smooth: {method!r} is not a method",
        hint=did_you_mean(method, METHODS) + f"known: {', '.join(METHODS)}",
    )


class Exponential:
    """A mean whose weights fall by 1/e every `seconds`, whatever the frame rate."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._time = 0.0
        self._value: NDArray[np.float32] | None = None

    def add(
        self, time_s: float, probs_k: NDArray[np.float32], every_s: float = 0.0
    ) -> NDArray[np.float32]:
        """See `Smoother.add`."""
        gap = time_s - self._time
        if self._value is None or gap > lost_after(FORGET_S, every_s) or self._seconds == 0:
            self._value = probs_k
        else:
            seconds = max(self._seconds, FADE_INTERVALS * every_s)
            # 1 - exp(-gap / seconds), exact for small gaps too.
            weight = -np.expm1(-max(gap, 0.0) / seconds)
            self._value = (self._value + weight * (probs_k - self._value)).astype(np.float32)
        self._time = time_s
        return self._value


class OneEuro:
    """Smooths strongly while the probabilities are steady, and little while they change.

    Args:
        cutoff_hz: of the filter while the probabilities are steady.
        beta: how fast the cutoff rises with the speed of change, in Hz per unit/s.
    """

    def __init__(self, cutoff_hz: float = 1.0, beta: float = 2.0) -> None:
        self._cutoff, self._beta = cutoff_hz, beta
        self._time = 0.0
        self._value: NDArray[np.float32] | None = None
        self._speed: NDArray[np.float32] | None = None

    def add(
        self, time_s: float, probs_k: NDArray[np.float32], every_s: float = 0.0
    ) -> NDArray[np.float32]:
        """See `Smoother.add`."""
        gap = time_s - self._time
        forget_s = lost_after(FORGET_S, every_s)
        if self._value is None or self._speed is None or gap > forget_s:
            self._value, self._speed = probs_k, np.zeros_like(probs_k)
        elif gap > 0:  # a second prediction of the same moment changes nothing
            speed = (probs_k - self._value) / gap
            # 1 Hz, the paper's cutoff for the derivative (Casiez et al. 2012).
            self._speed = self._speed + _weight(gap, 1.0) * (speed - self._speed)
            # One weight for all classes keeps their sum at 1.
            weight = _weight(gap, self._cutoff + self._beta * float(np.abs(self._speed).max()))
            self._value = (self._value + weight * (probs_k - self._value)).astype(np.float32)
        self._time = time_s
        return self._value


def _weight(gap: float, cutoff_hz: float) -> float:
    step = 2 * np.pi * cutoff_hz * gap
    return float(step / (step + 1))


class Viterbi:
    """The most likely sequence of labels behind one track's raw probabilities.

    A label changes `changes_per_s` times a second, to any other with equal probability. A moment
    older than `lag_s` is decided by the path that is best by then, and never changed again.

    Args:
        labels: number of them.
        changes_per_s: expected changes of label a second.
        lag_s: maximum seconds that a decision waits.
    """

    def __init__(self, labels: int, changes_per_s: float = 0.5, lag_s: float = 2.0) -> None:
        self._labels, self._rate, self._lag = labels, changes_per_s, lag_s
        self._scores = np.zeros(labels)
        self._times: deque[float] = deque()
        self._back: deque[NDArray[np.int64]] = deque()

    def add(self, time_s: float, probs_k: NDArray[np.float32]) -> list[tuple[float, int]]:
        """Add a moment; return (time in seconds, label number) of those decided now, by time."""
        # A floor: one confident mistake must not rule a label out for good.
        evidence = np.log(np.maximum(probs_k.astype(np.float64), 1e-4))
        if not self._times:
            self._scores = evidence
            back = np.arange(self._labels)
        else:
            gap = max(time_s - self._times[-1], 1e-6)
            # Within a long gap a label may change and change back: the probability of a net
            # change never exceeds chance level.
            limit = (self._labels - 1) / self._labels
            change = -np.expm1(-gap * self._rate / limit) * limit
            moves = np.full((self._labels, self._labels), np.log(change / (self._labels - 1)))
            np.fill_diagonal(moves, np.log1p(-change))
            candidates = self._scores[:, None] + moves
            back = candidates.argmax(axis=0)
            self._scores = candidates.max(axis=0) + evidence
            # Only differences count; hours of log probabilities would lose digits.
            self._scores -= self._scores.max()
        self._times.append(time_s)
        self._back.append(back)
        return self._decide(time_s - self._lag)

    def finish(self) -> list[tuple[float, int]]:
        """Decide and return all moments that still wait."""
        return self._decide(float("inf"))

    def _decide(self, until_s: float) -> list[tuple[float, int]]:
        if not self._times or self._times[0] > until_s:
            return []
        state, path = int(self._scores.argmax()), []
        for back in reversed(self._back):
            path.append(state)
            state = int(back[state])
        decided = []
        for label in reversed(path):
            if not self._times or self._times[0] > until_s:
                break
            decided.append((self._times.popleft(), label))
            self._back.popleft()
        return decided
