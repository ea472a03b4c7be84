"""Rows in BIDS's form: events and continuous recordings, each with a JSON sidecar."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError
from mien.files import write_bytes, write_text
from mien.tables.load import labels_of
from mien.tables.segments import step, tiers
from mien.types import UNSURE

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MIN_FILLED = 0.5
"""Fraction of even steps that have a row; with fewer the rows are not at even steps at all."""
MISSING_TEXT = "n/a"
"""BIDS's word for a value that is not there."""


def _one_source(table: Any, path: Path) -> None:
    sources = table["source"].unique().to_pylist()
    if len(sources) > 1:
        raise DataError(
            f"{path.name}: BIDS has one file for each recording, and these rows are of "
            f"{len(sources)}: {', '.join(map(str, sources[:3]))}",
            hint="convert the rows of one video at a time",
        )


def write_events(table: Any, path: Path) -> list[Path]:
    """Write BIDS's events: a line for each segment, sorted by onset."""
    _one_source(table, path)
    lines = [
        (one.start_s, one.end_s - one.start_s, one.label, tier.name)
        for tier in tiers(table)
        for one in tier.segments
    ]
    text = "onset\tduration\ttrial_type\ttrack\n" + "".join(
        f"{start:.6f}\t{length:.6f}\t{label}\t{track}\n"
        for start, length, label, track in sorted(lines)
    )
    levels = {label: f"the face shows {label}" for label in labels_of(table)}
    about = {
        "onset": {"Description": "seconds from the start of the video", "Units": "s"},
        "duration": {"Description": "length of the segment", "Units": "s"},
        "trial_type": {
            "LongName": "expression",
            "Description": "predicted expression; what a face shows, not what the person feels",
            "Levels": {**levels, UNSURE: "the confidence is below the threshold"},
        },
        "track": {"Description": "one face for as long as it stays in view; no identity"},
    }
    sidecar = path.with_name(path.name.removesuffix(".tsv") + ".json")
    write_text(path, text)
    write_text(sidecar, json.dumps(about, indent=2) + "\n")
    return [path, sidecar]


def write_physio(table: Any, path: Path) -> list[Path]:
    """Write BIDS's continuous recording: probabilities of one track, at even steps."""
    _one_source(table, path)
    tracks = table["track"].drop_null().unique().to_pylist()
    if len(tracks) != 1:
        raise DataError(
            f"{path.name}: a BIDS recording is of one face, and these rows have "
            f"{len(tracks)} tracks",
            hint="keep the rows of one track, or write _events.tsv",
        )
    rows = _even_rows(table["time_s"].to_numpy(), step_s := step(table))
    if rows is None:
        raise DataError(
            f"{path.name}: a BIDS recording has even steps, and these rows have not",
            hint="read the video at a fixed rate (mien video --fps 25), or write _events.tsv",
        )
    names = [f"p_{label}" for label in labels_of(table)]
    columns = [table[name].to_pylist() for name in names]
    missing = [None] * len(names)
    values = (missing if row < 0 else [column[row] for column in columns] for row in rows)
    text = "".join(
        "\t".join(MISSING_TEXT if value is None else repr(value) for value in line) + "\n"
        for line in values
    )
    about: dict[str, Any] = {
        "SamplingFrequency": round(1 / step_s, 6),
        "StartTime": float(table["time_s"][0].as_py()),
        "Columns": names,
        **{
            name: {"Description": f"smoothed probability that the face shows {name[2:]}"}
            for name in names
        },
    }
    sidecar = path.with_name(path.name.removesuffix(".tsv.gz") + ".json")
    # Without a time stamp, so that the same rows give the same file.
    write_bytes(path, gzip.compress(text.encode(), mtime=0))
    write_text(sidecar, json.dumps(about, indent=2) + "\n")
    return [path, sidecar]


def _even_rows(times_n: NDArray[np.float64], step_s: float) -> list[int] | None:
    """Return for each even step the row nearest to it, at most half a step away; -1 for none.

    BIDS has no column of times. Sampling a video of 30 frames a second at 25 takes the nearest
    frames, so steps differ by a fraction of a frame.

    Returns:
        Rows, or None where there are fewer than two, two at one step, or most steps have none.
    """
    if len(times_n) < 2:
        return None
    steps = (times_n - times_n[0]) / step_s
    slots = np.round(steps).astype(np.int64)
    # Two rows at one step: one of them would be lost.
    if (np.diff(slots) < 1).any():
        return None
    rows = np.full(slots.max() + 1, -1, np.int64)
    rows[slots] = np.arange(len(slots))
    return [int(row) for row in rows] if (rows >= 0).mean() >= MIN_FILLED else None
