"""Rows of `mien video` as one Arrow table, from CSV, JSON lines, Parquet or Feather."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError, counted
from mien.files import CHECK_PATH
from mien.imaging.pose import detected_poses
from mien.video.sinks.rows import ABOUT, PLACE, POSE, arrow_schema, load_arrow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIXES = (".csv", ".jsonl", ".parquet", ".feather")
DIGITS = {"time_s": 6, **dict.fromkeys(("x0", "y0", "x1", "y1", *POSE), 1)}
"""Decimals of columns as rows are written; all others have PROBABILITY_DIGITS."""
PROBABILITY_DIGITS = 4


def load_rows(paths: Sequence[Path], *, without: Sequence[str] = ()) -> Any:
    """Return the rows of files and folders, in that order, as a pyarrow.Table.

    Numbers are float64 with the decimals that rows have, whatever the file stores: a Parquet
    file's float32 0.1234 is the CSV's 0.1234. Landmarks are lists of ten numbers.
    Rows without yaw, pitch and roll, as mien wrote them before, get them from their landmarks.

    Args:
        paths: files written by `mien video`, or folders of them.
        without: columns to leave out, which saves time and memory, such as 'landmarks' or 'yaw';
            'raw' stands for the columns raw_LABEL.

    Raises:
        DataError: a file is missing, damaged, or has no rows of mien; two have other labels.
        MissingExtraError: pyarrow is not installed.
    """
    pa = load_arrow()
    files = [file for path in paths for file in _files(path)]
    tables = [_load(file, without) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.column_names != tables[0].column_names:
            raise DataError(
                f"{file} has the labels {', '.join(labels_of(table))}, {files[0]} has "
                f"{', '.join(labels_of(tables[0]))}",
                hint="convert rows of models with other labels by themselves",
            )
    return pa.concat_tables(tables)


def load_sources(path: Path) -> list[str]:
    """Return the different sources of a file's rows, in order; reads no other column if it can.

    Raises:
        DataError: as `load_rows`.
    """
    pa = load_arrow()
    from pyarrow import dataset

    form = {".jsonl": "json"}.get(path.suffix.lower(), path.suffix.lower()[1:])
    try:
        column = dataset.dataset(path, format=form).to_table(columns=["source"])["source"]
    except (pa.ArrowException, OSError, ValueError):
        # Says what is wrong with the file, or reads it where only the quick way did not.
        column = load_rows([path])["source"]
    return [str(one) for one in column.unique().to_pylist() if one is not None]


def labels_of(table: Any) -> list[str]:
    """Return the labels that a table has probabilities of, in the model's order."""
    return [name[2:] for name in table.column_names if name.startswith("p_")]


def by_source(table: Any) -> Iterator[tuple[str, Any]]:
    """Yield each source of rows with its rows, a pyarrow.Table, in the order of first rows.

    Args:
        table: a pyarrow.Table from `load_rows`. Rows without a source are left out.
    """
    import pyarrow.compute as pc

    names = [name for name in pc.unique(table["source"]).to_pylist() if name is not None]
    # Most files hold one source, and a filter copies all columns.
    if len(names) == 1 and not table["source"].null_count:
        yield names[0], table
        return
    for name in names:
        yield name, table.filter(pc.equal(table["source"], name))


def _files(path: Path) -> list[Path]:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder", hint=CHECK_PATH)
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(f"{path} holds no rows", hint="write some: mien video clip.mp4 --out DIR")
    return files


def _load(path: Path, without: Sequence[str] = ()) -> Any:
    pa = load_arrow()
    try:
        table = _READERS[path.suffix.lower()](path)
    except KeyError:
        raise DataError(
            f"{path}: {path.suffix or 'a file without a suffix'} is no table that mien reads",
            hint=f"give a file with one of the suffixes {', '.join(SUFFIXES)}",
        ) from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{path} cannot be read: {str(error).splitlines()[0]}",
            hint="is it complete? run mien video again with --resume",
        ) from error
    labels = labels_of(table)
    schema = arrow_schema(labels)
    is_older = "landmarks" in table.column_names and not set(POSE) & set(table.column_names)
    if is_older and not set(POSE) <= set(without):
        table = _with_poses(table)
    kept = [field for field in schema if field.name.partition("_")[0] not in without]
    missing = [field.name for field in kept if field.name not in table.column_names]
    if missing or not labels:
        raise DataError(
            f"{path} has no rows of mien video: {counted(len(missing), 'column')} missing, "
            f"such as {', '.join(missing[:3])}"
            if missing
            else f"{path} has no column p_LABEL",
            hint=f"rows start with the columns {', '.join((*ABOUT, *PLACE[:1]))}",
        )
    try:
        return _exact(table.select([field.name for field in kept]), kept)
    except pa.ArrowException as error:
        raise DataError(
            f"{path} has a value of another kind: {str(error).splitlines()[0]}",
            hint="was it edited? write it again with mien video",
        ) from error


def _with_poses(table: Any) -> Any:
    """Return the table with the poses of its landmarks."""
    pa = load_arrow()
    marks = _landmarks(table["landmarks"]).to_pylist()
    known = [number for number, own in enumerate(marks) if own is not None]
    angles: list[list[float | None]] = [[None] * len(marks) for _ in POSE]
    if known:
        points = np.array([marks[number] for number in known], np.float64)
        poses = np.round(detected_poses(points.reshape(-1, 5, 2)), 1)
        for own, column in zip(angles, poses.T.tolist(), strict=True):
            for number, angle in zip(known, column, strict=True):
                own[number] = angle if np.isfinite(angle) else None
    for name, own in zip(POSE, angles, strict=True):
        table = table.append_column(name, pa.array(own, pa.float64()))
    return table


def _exact(table: Any, fields: Sequence[Any]) -> Any:
    """Return the table with the fields' types, but float64 with the decimals of rows."""
    pa = load_arrow()
    import pyarrow.compute as pc

    columns = []
    for field in fields:
        column, kind = table[field.name], field.type
        if pa.types.is_list(kind):
            column = _rounded(_landmarks(column))
        elif pa.types.is_floating(kind):
            digits = DIGITS.get(field.name, PROBABILITY_DIGITS)
            column = pc.round(column.cast(pa.float64()), digits)
        else:
            column = column.cast(kind)
        columns.append(column)
    return pa.table(columns, names=[field.name for field in fields])


def _rounded(column: Any) -> Any:
    """Return lists of float64 with one decimal."""
    pa = load_arrow()
    import pyarrow.compute as pc

    lists = column.cast(pa.list_(pa.float64())).combine_chunks()
    values = pc.round(lists.values, 1)
    # The mask apart: offsets alone cannot tell an empty list from none.
    return pa.ListArray.from_arrays(lists.offsets, values, mask=lists.is_null())


def _landmarks(column: Any) -> Any:
    """Return landmarks as lists; CSV has ten numbers separated by spaces."""
    pa = load_arrow()
    import pyarrow.compute as pc

    if not pa.types.is_string(column.type):
        return column if pa.types.is_list(column.type) else column.cast(pa.list_(pa.float64()))
    empty = pc.equal(column, "")
    split = pc.split_pattern(pc.if_else(empty, None, column), " ")
    return split.cast(pa.list_(pa.float64()))


def _read_csv(path: Path) -> Any:
    from pyarrow import csv as pa_csv

    pa = load_arrow()
    with path.open("rb") as stream:
        head = stream.readline().decode("utf-8-sig", "replace").strip().split(",")
    labels = [name[2:] for name in head if name.startswith("p_")]
    kinds = {f.name: pa.float64() if pa.types.is_floating(f.type) else f.type
             for f in arrow_schema(labels)}  # fmt: skip
    # All values empty would otherwise be read as type null, and landmarks are text here.
    options = pa_csv.ConvertOptions(
        column_types={**kinds, "landmarks": pa.string()}, strings_can_be_null=True,
        null_values=[""], quoted_strings_can_be_null=True,
    )  # fmt: skip
    return pa_csv.read_csv(str(path), convert_options=options)


def _read_json(path: Path) -> Any:
    from pyarrow import json as pa_json

    return pa_json.read_json(str(path))


def _read_parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    return pq.read_table(str(path))


def _read_feather(path: Path) -> Any:
    from pyarrow import feather

    return feather.read_table(str(path))


_READERS = {
    ".csv": _read_csv, ".jsonl": _read_json, ".parquet": _read_parquet, ".feather": _read_feather,
}  # fmt: skip
