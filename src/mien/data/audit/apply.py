"""Obey an audit's table: images dropped and relabelled while a collection is imported."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from mien.data.audit.problem import ACTIONS, DROP, KEEP, RELABEL
from mien.data.duplicates import pixel_hashes
from mien.data.sources.tables import read_rows
from mien.errors import DataError, did_you_mean
from mien.labels import canonical

if TYPE_CHECKING:
    from pathlib import Path

    from mien.data.sources.collection import Collection

REQUIRED = ("source", "sha256", "action", "new_label")


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to happen to one image; `line` is where the table says so."""

    source: str
    sha256: str
    action: str
    new_label: str
    line: int


def apply_table(collection: Collection, table: Path) -> tuple[Collection, dict[str, int]]:
    """Return the collection after an audit's table, and how many images were dropped, relabelled.

    An image is known by its source and the SHA-256 of its pixels. Of several rows about one
    image, dropping wins over relabelling, and either over keeping.

    Args:
        collection: as it was read; it stays as it is.
        table: a CSV that `mien data audit` wrote and, perhaps, a person edited.

    Raises:
        DataError: no such table, a column is missing, an unknown action or label, two new labels
            for one image, or an image that is not in the collection as the table has it.
    """
    edits = read_edits(table)
    known = set(collection.label_names)
    for edit in edits:
        if edit.action == RELABEL and edit.new_label not in known:
            shown = edit.new_label or "nothing"
            raise DataError(
                f"{table}, line {edit.line}: relabel to {shown!r}, which is no label of "
                f"{collection.name}",
                hint=did_you_mean(edit.new_label, known)
                + f"its labels: {', '.join(collection.label_names)}",
            )
    rows = _find_rows(collection, edits, table)
    labels = collection.labels_n.copy()
    dropped = np.zeros(len(collection), bool)
    chosen: dict[int, Edit] = {}
    for row, edit in zip(rows, edits, strict=True):
        if edit.action == DROP:
            dropped[row] = True
            continue
        other = chosen.setdefault(row, edit)
        if other.new_label != edit.new_label:
            raise DataError(
                f"{table}: {edit.source} is relabelled {other.new_label} in line {other.line} and "
                f"{edit.new_label} in line {edit.line}",
                hint="set the action of one of the two to keep",
            )
        labels[row] = collection.label_names.index(edit.new_label)
    changed = int(((labels != collection.labels_n) & ~dropped).sum())
    counts = {"audit_dropped": int(dropped.sum()), "audit_relabelled": changed}
    return replace(collection, labels_n=labels).subset(~dropped), counts


def read_edits(table: Path) -> list[Edit]:
    """Return the rows of an audit's table that change something."""
    rows = read_rows(table)
    header = [name.strip() for name in next(rows, (1, []))[1]]
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise DataError(
            f"{table} has no column {missing[0]!r}; its columns are: {', '.join(header) or 'none'}",
            hint=did_you_mean(missing[0], header) + "give the audit.csv of mien data audit",
        )
    edits = [
        _edit(table, line, dict(zip_longest(header, cells[: len(header)], fillvalue="")))
        for line, cells in rows
        if cells
    ]
    return [edit for edit in edits if edit.action != KEEP]


def _edit(table: Path, line: int, row: dict[str, str]) -> Edit:
    action = row["action"].strip().lower()
    if action not in ACTIONS:
        raise DataError(
            f"{table}, line {line}: unknown action {row['action']!r}",
            hint=did_you_mean(action, ACTIONS) + f"actions: {', '.join(ACTIONS)}",
        )
    new = row["new_label"].strip()
    return Edit(row["source"], row["sha256"].strip(), action, canonical(new) if new else "", line)


def _find_rows(collection: Collection, edits: list[Edit], table: Path) -> list[int]:
    """Return the row of each edit's image."""
    counts = Counter(collection.sources_n.tolist())
    index: dict[str, list[int]] = {}
    for row, source in enumerate(collection.sources_n.tolist()):
        index.setdefault(source, []).append(row)
    needed = sorted({row for edit in edits for row in index.get(edit.source, [])})
    hashes = dict(
        zip(needed, pixel_hashes(np.asarray(collection.images_nhw)[needed]).tolist(), strict=True)
    )
    rows, lost = [], []
    for edit in edits:
        found = [r for r in index.get(edit.source, []) if hashes[r] == edit.sha256]
        if found:
            rows.append(found[0])
        else:
            why = "other pixels now" if counts[edit.source] else "not in the source"
            lost.append(f"line {edit.line}: {edit.source} ({why})")
    if lost:
        more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"{table} does not fit: {len(lost)} of {len(edits)} rows name an image that is not "
            f"in {collection.name}: {'; '.join(lost[:5])}{more}",
            hint="apply it to the source that was audited, with the same --size; or audit again",
        )
    return rows
