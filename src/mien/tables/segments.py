"""The predicted labels of rows as segments."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from mien.codings.coding import track_tiers, usual_step
from mien.errors import DataError

if TYPE_CHECKING:
    from mien.codings.coding import Tier


def tiers(table: Any) -> list[Tier]:
    """Return the predicted labels as tiers, see `track_tiers`; `unsure` is a label."""
    samples: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    columns = (table[name].to_pylist() for name in ("source", "track", "time_s", "label"))
    for source, track, time_s, label in zip(*columns, strict=True):
        times[source or ""].append(time_s)
        if track is not None:
            samples[source or "", str(track)].append((time_s, label or ""))
    return track_tiers(samples, times)


def step(table: Any) -> float:
    """Return the usual time between two frames, in seconds."""
    return usual_step(table["time_s"].to_pylist())


def only_track(table: Any, track: int) -> Any:
    """Return the rows of a track.

    Raises:
        DataError: no row has this track.
    """
    import pyarrow.compute as pc

    mine = table.filter(pc.equal(table["track"], track))
    if not mine.num_rows:
        known = sorted(table["track"].drop_null().unique().to_pylist())
        raise DataError(
            f"no row has track {track}",
            hint=f"known tracks are {', '.join(map(str, known)) or 'none'}",
        )
    return mine
