"""Means of frames over units: windows, times around events, episodes, conditions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.sessions.recording import NONE, log_odds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.sessions.baselines import Baseline
    from mien.sessions.recording import Recording

Columns = dict[str, Any]
MEASURES = ("p", "labelled", "log_odds", "change", "change_low", "change_high")
"""What a unit has for each label, in order."""
TIME_DIGITS, DIGITS = 6, 4
"""Decimals of seconds, as in rows, and of all else; the same in every format."""


@dataclass(slots=True)
class Scored:
    """A recording with what its tables need.

    Attributes:
        one: the recording.
        base: its baseline.
        used_n: bool [n], see `Recording.used_n`.
        odds_nk: float64 [n, k], log-odds.
    """

    one: Recording
    base: Baseline
    used_n: NDArray[np.bool_]
    odds_nk: NDArray[np.float64]

    @classmethod
    def of(cls, one: Recording, base: Baseline) -> Scored:
        """Return a recording with its log-odds."""
        return cls(one, base, one.used_n, log_odds(one.p_nk))


def unit_means(
    scored: Scored, frame_m: NDArray[np.int64], unit_m: NDArray[np.int64], units: int
) -> Columns:
    """Return the columns of each unit.

    Args:
        scored: the recording.
        frame_m: int64 [m], index of a frame; a frame may be in several units.
        unit_m: int64 [m], number of its unit.
        units: their number, u.

    Returns:
        Columns of length u: counts, fractions, and MEASURES of each label. Fractions of nothing
        and means over no used frame are nan. The interval of a change is the baseline's; frames
        within a unit add nothing to it.
    """
    one = scored.one
    used = scored.used_n[frame_m]

    def count(which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(unit_m[which], minlength=units)

    face = one.track_n[frame_m] != NONE
    good_code = one.qualities.index("good") if "good" in one.qualities else NONE - 1
    frames, faces, n_used = count(np.ones(len(unit_m), bool)), count(face), count(used)
    columns: Columns = {
        "frames": frames,
        "frames_with_face": faces,
        "frames_used": n_used,
        "fraction_face": _ratio(faces, frames),
        "fraction_good": _ratio(count(one.quality_n[frame_m] == good_code), faces),
        "fraction_unsure": _ratio(count(used & one.unsure_n[frame_m]), n_used),
        "fraction_excluded": _ratio(count(one.excluded_n[frame_m] != NONE), frames),
    }
    at, within = frame_m[used], unit_m[used]
    for k, label in enumerate(one.labels):
        hit = np.bincount(within, weights=one.label_n[at] == k, minlength=units)
        p = np.bincount(within, weights=one.p_nk[at, k], minlength=units)
        odds = _ratio(np.bincount(within, weights=scored.odds_nk[at, k], minlength=units), n_used)
        columns[f"p_{label}"] = _ratio(p, n_used)
        columns[f"labelled_{label}"] = _ratio(hit, n_used)
        columns[f"log_odds_{label}"] = odds
        columns |= change_columns(scored.base, k, label, odds)
    return columns


def change_columns(base: Baseline, k: int, label: str, odds_u: NDArray[np.float64]) -> Columns:
    """Return the change of log-odds from the baseline and its interval; nan without a baseline."""
    level_k, half_k = base.level_k, base.half_k
    if level_k is None or half_k is None:
        nothing = np.full(len(odds_u), np.nan)
        return {f"{name}_{label}": nothing for name in MEASURES[3:]}
    change = odds_u - level_k[k]
    return {
        f"change_{label}": change,
        f"change_low_{label}": change - half_k[k],
        f"change_high_{label}": change + half_k[k],
    }


def _ratio(part: NDArray[Any], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole > 0, part / whole, np.nan)


def wide_table(columns: Columns) -> Any:
    """Return columns as a pyarrow.Table: rounded, nan as null."""
    import pyarrow as pa

    return pa.table({name: as_arrow(name, values) for name, values in columns.items()})


def as_arrow(name: str, values: Any) -> Any:
    """Return a column in Arrow: floats rounded, nan as null."""
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        digits = TIME_DIGITS if name.endswith("_s") else DIGITS
        # + 0.0 turns -0.0 into 0.0, which text would show with its sign.
        return pa.array(np.round(values, digits) + 0.0, from_pandas=True)
    made = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    # Nothing but nulls has no type of its own, and the next piece of the table has text there.
    return made.cast(pa.string()) if pa.types.is_null(made.type) else made


def long_table(wide: Any, labels: tuple[str, ...], measures: tuple[str, ...]) -> Any:
    """Return a row for each row of a wide table and label; columns of labels become measures.

    Args:
        wide: a pyarrow.Table.
        labels: k.
        measures: names before the label, such as 'p' of 'p_happy'.
    """
    import pyarrow as pa

    names = {f"{measure}_{label}" for measure in measures for label in labels}
    n, k = wide.num_rows, len(labels)
    once = [name for name in wide.column_names if name not in names]
    # One unit's labels stand together, so that the file can be read from top to bottom.
    repeated = wide.select(once).take(np.repeat(np.arange(n), k))
    turn = np.arange(n * k).reshape(k, n).T.ravel()
    table = repeated.append_column(
        "expression", pa.array(list(labels)).take(np.tile(np.arange(k), n))
    )
    for measure in measures:
        if f"{measure}_{labels[0]}" in wide.column_names:
            parts = [wide[f"{measure}_{label}"].combine_chunks() for label in labels]
            flat = [c for part in parts for c in getattr(part, "chunks", [part])]
            table = table.append_column(measure, pa.concat_arrays(flat).take(turn))
    return table
