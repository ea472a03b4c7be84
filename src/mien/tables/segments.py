"""The predicted labels of rows as segments."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.codings.coding import Tier, join_samples
from mien.errors import DataError

UNSURE = "unsure"


def tiers(table: Any) -> list[Tier]:
    """Return the predicted labels as tiers, one for each source and track; `unsure` is a label.

    Tiers are named 'track 1', or 'clip.mp4, track 1' where there are several sources.
    """
    names = ("source", "track", "time_s", "label", "unsure")
    source_n, track_n, time_n, label_n, unsure_n = (table[name].to_pylist() for name in names)
    step_s = step(table)
    samples: dict[tuple[str, int], list[tuple[float, str]]] = {}
    for source, track, time_s, label, unsure in zip(
        source_n, track_n, time_n, label_n, unsure_n, strict=True
    ):
        if track is not None:
            read = UNSURE if unsure else label or ""
            samples.setdefault((source or "", track), []).append((time_s, read))
    single = len({source for source, _ in samples}) < 2
    return [
        Tier(
            f"track {track}" if single else f"{source}, track {track}",
            tuple(join_samples(sorted(some), step_s)),
        )
        for (source, track), some in samples.items()
    ]


def step(table: Any) -> float:
    """Return the usual time between two frames of a source, in seconds."""
    times = np.unique(table["time_s"].to_numpy())
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


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
