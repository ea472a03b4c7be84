"""Whom each row shows, as a column: rows joined with the people.json beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import counted
from mien.video.people.file import FILE_NAME, NOT_A_FACE, UNKNOWN, People
from mien.video.sinks.rows import load_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def with_people(table: Any, rows: Sequence[Path], say: Callable[[str], None]) -> Any:
    """Return rows with a column `person` after `track`, where people.json lies beside them.

    It has the name of the person, the id where there is none, and is empty for unknown people.
    Rows of tracks that are marked as no face are left out.

    Args:
        table: a pyarrow.Table of rows.
        rows: the files and folders that it was read from.
        say: called with one line for what a user should know.

    Raises:
        DataError: people.json is damaged, or of a newer schema.
    """
    folders = dict.fromkeys(path if path.is_dir() else path.parent for path in rows)
    found = [folder for folder in folders if (folder / FILE_NAME).exists()]
    if not found:
        return table
    if len(folders) > 1:
        # P1 of one folder is another person than P1 of the next.
        say(f"no column person: {FILE_NAME} says who is who within one folder; convert each alone")
        return table
    return _joined(table, People.load(found[0]), say)


def _joined(table: Any, people: People, say: Callable[[str], None]) -> Any:
    pa = load_arrow()
    places, place_n = people.places_of_rows(table)
    labels = {**people.labels(), UNKNOWN: None, NOT_A_FACE: None}
    # One more for rows without a face, whose number is -1.
    names = pa.array([*(labels[place] for place in places), None], pa.string())
    column = names.take(pa.array(place_n % len(names)))
    table = table.add_column(table.column_names.index("track") + 1, "person", column)
    kept = place_n != places.index(NOT_A_FACE)
    if not kept.all():
        say(f"{counted(int(np.sum(~kept)), 'row')} left out: marked as no face")
        table = table.filter(pa.array(kept))
    return table
