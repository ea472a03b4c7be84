"""The tables of a recording: frames, windows, events, episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.codings.coding import MAX_GAP
from mien.sessions.recording import NONE
from mien.sessions.units import Columns, change_columns, unit_means, wide_table
from mien.video.sinks.rows import POSE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.sessions.design import Study
    from mien.sessions.marks import Moment
    from mien.sessions.units import Scored


class Levels:
    """Makes the tables of recordings.

    Args:
        study: the study.
        conditions: names of the conditions, see `Marks`.
        variables: names of the between-subject variables, in order.
    """

    def __init__(self, study: Study, conditions: Sequence[str], variables: Columns) -> None:
        self._study, self._conditions, self.variables = study, list(conditions), variables

    def about(self, scored: Scored, n: int) -> Columns:
        """Return the columns that say whose n rows they are."""
        import pyarrow as pa

        one = scored.one
        texts = {"session": one.session.id, "video": one.session.video,
                 "participant": one.participant.id}  # fmt: skip
        columns: Columns = {name: pa.repeat(pa.scalar(text), n) for name, text in texts.items()}
        return columns | self._variable_columns(scored, n)

    def person(self, scored: Scored) -> Columns:
        """Return the columns of one row that say who a participant is."""
        return {"participant": [scored.one.participant.id]} | self._variable_columns(scored, 1)

    def _variable_columns(self, scored: Scored, n: int) -> Columns:
        import pyarrow as pa

        one, columns = scored.one, {}
        for name, kind in self.variables.items():
            value = one.participant.variables.get(name)
            if value is not None and kind == pa.string():
                value = str(value)
            columns[name] = pa.repeat(pa.scalar(value, kind), n)
        return columns

    def frames(self, scored: Scored) -> Any:
        """Return a row for each frame, with a face or without."""
        one = scored.one
        n = len(one.time_n)
        columns = (
            self.about(scored, n)
            | {
                "condition": _named(one.condition_n, self._conditions),
                "stimulus": _named(one.stimulus_n, [s.name for s in self._study.stimuli]),
                "frame": one.frame_n,
                "time_s": one.time_n,
                "face": one.track_n != NONE,
                "track": _numbers(one.track_n),
                "quality": _named(one.quality_n, one.qualities),
                "excluded": _named(one.excluded_n, one.reasons),
                "label": _named(one.label_n, one.label_names),
                "unsure": _unless(one.unsure_n, one.label_n == NONE),
                "confidence": one.confidence_n,
            }
            | dict(zip(POSE, one.pose_n3.T, strict=True))
        )
        corrections = self._study.corrections
        columns["corrected_label"] = _named(one.corrected_n, [c.label for c in corrections])
        columns["corrected_by"] = _named(one.corrected_n, [c.by for c in corrections])
        for k, label in enumerate(one.labels):
            columns[f"p_{label}"] = one.p_nk[:, k]
            columns |= change_columns(scored.base, k, label, scored.odds_nk[:, k])
        return wide_table(columns)

    def windows(self, scored: Scored, window_s: float) -> Any:
        """Return a row for each window of `window_s` seconds, counted from the video's 0."""
        one = scored.one
        # Frames at a window's start have times that are rounded to six decimals.
        number_n = np.floor(one.time_n / window_s + 1e-6).astype(np.int64)
        first = int(number_n[0])
        unit_n = number_n - first
        units = int(unit_n[-1]) + 1
        start_s = (first + np.arange(units, dtype=np.float64)) * window_s
        middle = self._middle(scored, start_s, window_s)
        columns = self.about(scored, units) | {
            "condition": _named(one.condition_n[middle], self._conditions),
            "stimulus": _named(one.stimulus_n[middle], [s.name for s in self._study.stimuli]),
            "window": first + np.arange(units),
            "start_s": start_s,
            "end_s": start_s + window_s,
        }
        return wide_table(columns | unit_means(scored, np.arange(len(unit_n)), unit_n, units))

    def events(
        self,
        scored: Scored,
        moments: Sequence[Moment],
        window_s: float,
        around_s: tuple[float, float],
    ) -> Any:
        """Return a row for each event and window around it.

        Args:
            scored: the recording.
            moments: its events.
            window_s: length of a window.
            around_s: seconds before and after an event; windows start at the event and count
                outwards, so that none lies on both sides of it.
        """
        one = scored.one
        before, after = (int(np.ceil(side / window_s - 1e-9)) for side in around_s)
        bins = before + after
        frames, units = [], []
        for number, moment in enumerate(moments):
            near = one.between(moment.time_s - before * window_s, moment.time_s + after * window_s)
            offset = np.floor((one.time_n[near] - moment.time_s) / window_s + 1e-6).astype(np.int64)
            frames.append(np.arange(near.start, near.stop))
            units.append(number * bins + np.clip(offset + before, 0, bins - 1))
        n = len(moments) * bins
        event = np.repeat(np.arange(len(moments)), bins)
        from_s = np.tile((np.arange(bins) - before) * window_s, len(moments))
        time_s = np.array([moment.time_s for moment in moments])[event] if n else np.zeros(0)
        middle = self._middle(scored, time_s, 0.0)
        columns = self.about(scored, n) | {
            "condition": _named(one.condition_n[middle], self._conditions),
            "event": event + 1,
            "name": _named(event, [moment.name for moment in moments]),
            "kind": _named(event, [moment.kind for moment in moments]),
            "origin": _named(event, [moment.origin for moment in moments]),
            "event_time_s": time_s,
            "duration_s": np.array([m.duration_s for m in moments], np.float64)[event],
            "phase": _named((from_s >= 0).astype(np.int64), ["pre", "post"]),
            "from_s": from_s,
            "to_s": from_s + window_s,
        }
        frame_m = np.concatenate(frames) if frames else np.zeros(0, np.int64)
        unit_m = np.concatenate(units) if units else np.zeros(0, np.int64)
        return wide_table(columns | unit_means(scored, frame_m, unit_m, n))

    def episodes(self, scored: Scored) -> Any:
        """Return a row for each run of one label.

        A run ends where the label changes, where a range is left out, or where no prediction
        follows within MAX_GAP frames.
        """
        one = scored.one
        at = np.flatnonzero(scored.used_n & (one.label_n != NONE))
        time, label = one.time_n[at], one.label_n[at]
        left_out = np.cumsum(one.excluded_n != NONE)[at]
        gap = np.diff(time) > MAX_GAP * one.step_s + 1e-7
        apart = gap | (np.diff(left_out) > 0)
        new = np.append(True, apart | (np.diff(label) != 0)) if len(at) else np.zeros(0, bool)
        unit = np.cumsum(new) - 1
        first = np.flatnonzero(new)
        last = np.append(first[1:] - 1, len(at) - 1) if len(first) else first
        # Up to the next prediction where one follows, else for one frame more.
        until = np.append(np.where(apart, time[:-1] + one.step_s, time[1:]),
                          time[-1:] + one.step_s)  # fmt: skip
        start_s, end_s = time[first], until[last] if len(last) else time[first]
        confidence = np.bincount(unit, weights=one.confidence_n[at], minlength=len(first))
        columns = self.about(scored, len(first)) | {
            "condition": _named(one.condition_n[at[first]], self._conditions),
            "stimulus": _named(one.stimulus_n[at[first]], [s.name for s in self._study.stimuli]),
            "episode": np.arange(1, len(first) + 1),
            "label": _named(label[first], one.label_names),
            "start_s": start_s,
            "end_s": end_s,
            "duration_s": end_s - start_s,
            "confidence": confidence / np.maximum(np.bincount(unit, minlength=len(first)), 1),
        }
        return wide_table(columns | unit_means(scored, at, unit, len(first)))

    def _middle(
        self, scored: Scored, start_s: NDArray[np.float64], window_s: float
    ) -> NDArray[np.int64]:
        """Return the frame in the middle of each window, which gives the window its condition."""
        place = np.searchsorted(scored.one.time_n, start_s + window_s / 2 + 1e-7, side="right") - 1
        return np.clip(place, 0, len(scored.one.time_n) - 1)


def _named(number_n: NDArray[Any], names: Sequence[str]) -> Any:
    """Return names by their number; null for NONE and for an empty name."""
    import pyarrow as pa

    words = pa.array([name or None for name in names], pa.string())
    return words.take(_numbers(number_n))


def _numbers(number_n: NDArray[Any]) -> Any:
    """Return numbers with null for NONE."""
    import pyarrow as pa

    return pa.array(number_n.astype(np.int32), mask=number_n == NONE)


def _unless(value_n: NDArray[np.bool_], missing_n: NDArray[np.bool_]) -> Any:
    import pyarrow as pa

    return pa.array(value_n, mask=missing_n)
