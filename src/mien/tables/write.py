"""Writing rows for other software: `write_rows` knows the formats by the suffix of the file."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, MissingExtraError, did_you_mean
from mien.files import write_by_name, write_bytes, write_text
from mien.imaging.pose import openface_angles
from mien.tables.bids import write_events, write_physio
from mien.tables.load import labels_of
from mien.tables.segments import step, tiers
from mien.video.sinks.rows import POSE, load_arrow

if TYPE_CHECKING:
    from collections.abc import Callable

OPENFACE = {
    "frame": "frame", "track": "face_id", "time_s": "timestamp", "score": "confidence",
}  # fmt: skip
"""Columns that OpenFace has too, by our names; its pose_Rx, pose_Ry and pose_Rz are radians."""
RADIAN_DIGITS = 4


def write_rows(table: Any, path: Path, *, columns: str = "mien") -> list[Path]:
    """Write rows in the format that the file's name ends with.

    Args:
        table: of `load_rows`.
        path: ends with .csv, .tsv, .parquet, .feather, .sav, .R, .eaf, .TextGrid, _events.tsv
            or _physio.tsv.gz (BIDS).
        columns: 'mien', or 'openface' for the names that OpenFace gives to the same columns, with
            its `success`; for .csv, .tsv, .parquet and .feather.

    Returns:
        The files that were written: BIDS's have a JSON sidecar, .R a CSV file.

    Raises:
        ConfigError: the name has another end, or `columns` is unknown or not for this format.
        DataError: the format cannot hold these rows.
        MissingExtraError: an optional package is not installed.
        WriteError: a file cannot be written.
    """
    write = writer(path)
    if columns not in ("mien", "openface"):
        raise ConfigError(
            f"columns: {columns!r} is unknown",
            hint=f"{did_you_mean(columns, ('mien', 'openface'))}known: mien, openface",
        )
    if columns == "openface":
        if write not in (_write_text, _write_parquet, _write_feather):
            raise ConfigError(
                f"{path.name} cannot have OpenFace's columns",
                hint="write .csv, .tsv, .parquet or .feather",
            )
        table = _openface(table)
    return write(table, path)


def writer(path: Path) -> Callable[[Any, Path], list[Path]]:
    """Return the function that writes this kind of file.

    Raises:
        ConfigError: the name has none of the known ends.
    """
    name = path.name.lower()
    # Longer ends first: _events.tsv is no plain .tsv.
    for end in sorted(WRITERS, key=len, reverse=True):
        if name.endswith(end):
            return WRITERS[end]
    raise ConfigError(
        f"{path}: the format is not known by the name's end", hint=f"known: {', '.join(WRITERS)}"
    )


def _openface(table: Any) -> Any:
    pa = load_arrow()
    found = pa.array([1 if track is not None else 0 for track in table["track"].to_pylist()])
    angles = [[math.nan if v is None else v for v in table[name].to_pylist()] for name in POSE]
    radians = np.round(openface_angles(np.array(angles, np.float64).T), RADIAN_DIGITS)
    for name, column in zip(("pose_Rx", "pose_Ry", "pose_Rz"), radians.T, strict=True):
        place = table.column_names.index(POSE[0])
        values = pa.array(column, pa.float64(), from_pandas=True)  # null where NaN
        table = table.add_column(place, name, values)
    table = table.drop_columns(list(POSE))
    names = [OPENFACE.get(name, name) for name in table.column_names]
    place = table.column_names.index("score") + 1
    return table.rename_columns(names).add_column(place, "success", found)


def _flat(table: Any) -> Any:
    """Return the table with landmarks as ten columns, which text and statistics software need."""
    pa = load_arrow()
    place = table.column_names.index("landmarks")
    lists = table["landmarks"].to_pylist()
    table = table.remove_column(place)
    for number in range(10):
        values = [None if marks is None else round(marks[number], 1) for marks in lists]
        name = f"landmark{number // 2}_{'xy'[number % 2]}"
        table = table.add_column(place + number, name, pa.array(values, pa.float64()))
    return table


def _write_text(table: Any, path: Path) -> list[Path]:
    separator = "\t" if path.suffix.lower() == ".tsv" else ","
    write_bytes(path, _delimited(_spaced(table), separator))
    return [path]


def _spaced(table: Any) -> Any:
    """Return the table with landmarks as ten numbers separated by spaces, as in mien's CSV."""
    pa = load_arrow()
    place = table.column_names.index("landmarks")
    texts = [
        None if marks is None else " ".join(map(str, marks))
        for marks in table["landmarks"].to_pylist()
    ]
    return table.set_column(place, "landmarks", pa.array(texts, pa.string()))


def _delimited(table: Any, separator: str) -> bytes:
    import pyarrow.csv as pa_csv

    buffer = io.BytesIO()
    options = pa_csv.WriteOptions(delimiter=separator, quoting_style="needed")
    pa_csv.write_csv(table, buffer, options)
    return buffer.getvalue()


def _write_parquet(table: Any, path: Path) -> list[Path]:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())
    return [path]


def _write_feather(table: Any, path: Path) -> list[Path]:
    from pyarrow import feather

    buffer = io.BytesIO()
    feather.write_feather(table, buffer)
    write_bytes(path, buffer.getvalue())
    return [path]


def _write_spss(table: Any, path: Path) -> list[Path]:
    """Write a .sav file; what is missing is system-missing, as SPSS has it."""
    try:
        import pyreadstat
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("tables", "writing SPSS files") from error
    frame = _flat(table).to_pandas()
    frame["unsure"] = frame["unsure"].astype("float64")
    texts = {"source", "person", "origin", "quality", "label"}
    for name in texts & set(frame.columns):
        frame[name] = frame[name].fillna("")
    titles = {
        "time_s": "seconds from the start of the video",
        "track": "one face for as long as it stays in view",
        "person": "name or id of the person",
        "yaw": "degrees, positive towards the right edge of the image",
        "pitch": "degrees, positive upwards",
        "roll": "degrees, positive clockwise",
        "unsure": "1: the confidence is below the threshold",
        **{f"p_{label}": f"smoothed probability of {label}" for label in labels_of(table)},
    }
    columns = [titles.get(name, name) for name in frame.columns]
    write_by_name(
        path, lambda place: pyreadstat.write_sav(frame, str(place), column_labels=columns)
    )
    return [path]


R_SCRIPT = """\
# A mixed model of the rows beside this script. install.packages("lme4") once.
library(lme4)
rows <- read.csv("{csv}", stringsAsFactors = TRUE)
rows <- rows[!is.na(rows$p_{label}), ]
# Neighboring frames are nearly copies of one another: one mean for each second and track.
rows$second <- floor(rows$time_s)
seconds <- aggregate(p_{label} ~ source + track + second, data = rows, FUN = mean)
# Probabilities have an end at 0 and 1; their log-odds have none.
p <- pmin(pmax(seconds$p_{label}, 0.001), 0.999)
seconds$log_odds <- log(p / (1 - p))
# Put your own predictors (condition, time of a stimulus) in the place of `second`.
model <- lmer(log_odds ~ second + (1 | source), data = seconds)
print(summary(model))
"""


def _write_r(table: Any, path: Path) -> list[Path]:
    # Not NAME.csv, which may be the rows that are converted.
    csv = path.with_name(f"{path.stem}-rows.csv")
    label = labels_of(table)[0]
    write_bytes(csv, _delimited(_flat(table), ","))
    write_text(path, R_SCRIPT.format(csv=csv.name, label=label))
    return [path, csv]


def _write_elan(table: Any, path: Path) -> list[Path]:
    from mien.codings.write import write_elan

    sources = table["source"].unique().to_pylist()
    write_elan(path, tiers(table), [source for source in sources if source])
    return [path]


def _write_textgrid(table: Any, path: Path) -> list[Path]:
    from mien.codings.write import write_textgrid

    times = table["time_s"].to_numpy()
    found = tiers(table)
    ends = [tier.span_s[1] for tier in found]
    write_textgrid(path, found, max([float(times.max(initial=0)) + step(table), *ends]))
    return [path]


WRITERS: dict[str, Callable[[Any, Path], list[Path]]] = {
    ".csv": _write_text, ".tsv": _write_text, ".parquet": _write_parquet,
    ".feather": _write_feather, ".sav": _write_spss, ".r": _write_r, ".eaf": _write_elan,
    ".textgrid": _write_textgrid, "_events.tsv": write_events, "_physio.tsv.gz": write_physio,
}  # fmt: skip
"""Writers by the end of the file's name, in lower case."""
