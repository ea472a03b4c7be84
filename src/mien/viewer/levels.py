"""Levels of detail of a timeline: minimum, maximum and mean of each probability per bin.

Two hours of video have 180,000 rows for each person, and a screen a thousand columns. The server
keeps the rows in bins of the sampling interval and of each power of two of it, and sends the
coarsest level that still has a bin for each column, for the visible range only.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from mien.video.bins import NONE, Bins, Level
from mien.video.pace import GAP_INTERVALS, GAP_S
from mien.viewer.results import ROUNDING_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.viewer.results import SourceRows

MAX_COLUMNS = 8192
"""Columns of one answer; each lane has up to twice as many bins."""
ROUNDING = 1e-6
"""Of a level's number: a range of exactly as many bins must not give the finer level."""
_HEAD = struct.Struct("<ddII")


class Pyramid:
    """Levels of detail of one lane: the rows of a person or of a track.

    Args:
        rows: of the source.
        chosen_m: int64 [m], rows of the lane, by time.
    """

    def __init__(self, rows: SourceRows, chosen_m: NDArray[np.int64]) -> None:
        self.width_s = rows.step_s
        # Half of a step away from the edges: times of regular frames would fall on them.
        bins = max(1, int(np.ceil(rows.end_s / self.width_s + 0.5)))
        k = len(rows.labels)
        state = _finest(rows, chosen_m, bins)
        self._levels = [state.level(k)]
        while len(self._levels[-1].code_b) > 1:
            state = state.halved()
            self._levels.append(state.level(k))

    def query(self, start_s: float, end_s: float, columns: int) -> tuple[int, int, Level]:
        """Return the bins of a range.

        Args:
            start_s: start of the range, in seconds.
            end_s: end of it.
            columns: that the range is drawn in, 1 or more; there are up to twice as many bins.

        Returns:
            The level's number (its bins are 2 ** number sampling intervals wide), the number of
            the first bin, and the bins.
        """
        number = self.level_of(start_s, end_s, columns)
        level, width = self._levels[number], self.width_s * 2**number
        first = min(max(int((start_s / self.width_s + 0.5) // 2**number), 0), len(level.code_b))
        last = min(int((end_s / self.width_s + 0.5) // 2**number) + 1, len(level.code_b))
        last = min(max(last, first), first + int(np.ceil((end_s - start_s) / width)) + 1)
        return number, first, Level(level.probs_bk3[first:last], level.code_b[first:last])

    def level_of(self, start_s: float, end_s: float, columns: int) -> int:
        """Return the number of the coarsest level with a bin for each column of a range."""
        finest = max(end_s - start_s, 0.0) / self.width_s
        number = max(0, int(np.floor(np.log2(max(finest / columns, 1.0)) + ROUNDING)))
        return min(number, len(self._levels) - 1)

    def at(self, number: int, first: int, count: int) -> Level:
        """Return bins of a level by their numbers; those beyond the source's end are empty."""
        level = self._levels[min(number, len(self._levels) - 1)]
        return Level(level.probs_bk3[first : first + count], level.code_b[first : first + count])


def _finest(rows: SourceRows, chosen_m: NDArray[np.int64], bins: int) -> Bins:
    """Return bins of the sampling interval; a row counts until the next one, as in summaries."""
    k = len(rows.labels)
    time_m = rows.time_n[chosen_m]
    bin_m = np.clip((time_m / rows.step_s + 0.5).astype(np.int64), 0, bins - 1)
    # The last row of a bin stands for it, and for the empty bins behind it.
    last_b = np.full(bins, -1, np.int64)
    last_b[bin_m] = np.arange(len(chosen_m))
    last_b = np.maximum.accumulate(last_b)
    start_b = np.arange(bins) * rows.step_s
    limit_s = max(GAP_S, GAP_INTERVALS * rows.step_s)
    seen_b = last_b >= 0
    if len(chosen_m):
        age_b = start_b - time_m[np.maximum(last_b, 0)]
        seen_b &= _continues(time_m, last_b, age_b, limit_s, rows.step_s)
    code_b = np.full(bins, NONE, np.uint8)
    probs_bk = np.full((bins, k), np.nan, np.float32)
    chosen_b = chosen_m[last_b[seen_b]]
    code_b[seen_b], probs_bk[seen_b] = rows.code_n[chosen_b], rows.probs_nk[chosen_b]
    read_b: NDArray[np.bool_] = np.logical_not(np.isnan(probs_bk).any(axis=1))
    count_bc = np.zeros((bins, k + 2), np.int32)
    count_bc[np.flatnonzero(seen_b), np.minimum(code_b[seen_b], k + 1)] = 1
    read_b1 = read_b[:, None]
    return Bins(
        np.where(read_b1, probs_bk, 0), np.where(read_b1, probs_bk, np.inf),
        np.where(read_b1, probs_bk, -np.inf), read_b.astype(np.float32), count_bc,
    )  # fmt: skip


def _continues(
    time_m: NDArray[np.float64],
    last_b: NDArray[np.int64],
    age_b: NDArray[np.float64],
    limit_s: float,
    step_s: float,
) -> NDArray[np.bool_]:
    """Return for each bin whether its last row still counts: not across a longer gap."""
    until_m = np.append(time_m[1:], np.inf) - time_m
    # After a track's end, or before a gap, a row counts for one sampling interval.
    lasts_m = np.where(until_m <= limit_s + ROUNDING_S, until_m, step_s)
    return np.asarray(age_b < lasts_m[np.maximum(last_b, 0)] - ROUNDING_S, np.bool_)


def encode(
    pyramids: Sequence[Pyramid], start_s: float, end_s: float, columns: int
) -> bytes:  # fmt: skip
    """Return the bins of several lanes as bytes.

    They are, little-endian: float64 seconds of a bin and of the first bin's start, uint32 bins
    and lanes; then for each lane uint8 [bins, k, 3] and uint8 [bins] as in `Level`.
    """
    if not pyramids:
        return _HEAD.pack(0.0, 0.0, 0, 0)
    number, first, level = pyramids[0].query(start_s, end_s, columns)
    count = len(level.code_b)
    step_s = pyramids[0].width_s
    parts = [_HEAD.pack(step_s * 2**number, first * step_s * 2**number - step_s / 2, count,
                        len(pyramids))]  # fmt: skip
    for pyramid in pyramids:
        own = pyramid.at(number, first, count)
        parts += [own.probs_bk3.tobytes(), own.code_b.tobytes()]
    return b"".join(parts)


def describe(rows: SourceRows, chosen_m: NDArray[np.int64]) -> dict[str, float]:
    """Return the fraction of a lane's rows with each label; unsure is one."""
    names = (*rows.labels, "unsure", "unread")
    counts = np.bincount(rows.code_n[chosen_m], minlength=len(names))
    total = max(int(counts.sum()), 1)
    return {name: round(float(count) / total, 4) for name, count in zip(names, counts, strict=True)}
