"""Apply an audit's table: drop and relabel images while they are imported."""

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

    from mien.data.dataset import Dataset

REQUIRED = ("source", "sha256", "action", "new_label")


@dataclass(frozen=True, slots=True)
class Edit:
    """The action for one image, and its line in the table, from 1."""

    source: str
    sha256: str
    action: str
    new_label: str
    line: int


def apply_table(dataset: Dataset, table: Path) -> tuple[Dataset, dict[str, int]]:
    """Return the dataset with a table's actions applied, and the counts of these actions.

    An image is identified by its source and the SHA-256 of its pixels. Of several rows about one
    image, drop has precedence over relabel, and both over keep.

    Args:
        dataset: dataset to edit, unchanged.
        table: audit.csv of `mien data audit`, edited or not.

    Raises:
        DataError: the table cannot be read, lacks a column, has an unknown action or label or two
            new labels for one image, or names an image that is not in the dataset.
    """
    edits = read_edits(table)
    known = set(dataset.label_names)
    for edit in edits:
        if edit.action == RELABEL and edit.new_label not in known:
            raise DataError(
                f"{table}, line {edit.line}: new_label {edit.new_label!r} is not a label of "
                f"{dataset.name}",
                hint=did_you_mean(edit.new_label, known)
                + f"allowed: {', '.join(dataset.label_names)}",
            )
    # All rows before the first edit: a table of other images changes nothing.
    rows = _find_rows(dataset, edits, table)
    labels = dataset.labels_n.copy()
    dropped = np.zeros(len(dataset), bool)
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
                hint="set the action of one of the lines to keep",
            )
        labels[row] = dataset.label_names.index(edit.new_label)
    changed = int(((labels != dataset.labels_n) & ~dropped).sum())
    counts = {"audit_dropped": int(dropped.sum()), "audit_relabelled": changed}
    # An image that is dropped and relabelled is dropped: that is the safer of the two.
    return replace(dataset, labels_n=labels).subset(~dropped), counts


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
        # Spreadsheets drop empty cells at the end of a row, or append some.
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
            hint=did_you_mean(action, ACTIONS) + f"allowed: {', '.join(ACTIONS)}",
        )
    new = row["new_label"].strip()
    return Edit(row["source"], row["sha256"].strip(), action, canonical(new) if new else "", line)


def _find_rows(dataset: Dataset, edits: list[Edit], table: Path) -> list[int]:
    """Return the row of each edit's image."""
    counts = Counter(dataset.sources_n.tolist())
    index: dict[str, list[int]] = {}
    for row, source in enumerate(dataset.sources_n.tolist()):
        index.setdefault(source, []).append(row)
    # Only images that an edit names: hashing a whole collection takes minutes.
    needed = sorted({row for edit in edits for row in index.get(edit.source, [])})
    hashes = dict(
        zip(needed, pixel_hashes(np.asarray(dataset.images_nhw)[needed]).tolist(), strict=True)
    )
    rows, lost = [], []
    for edit in edits:
        # By content as well as by name: a table of an older state must not hit other images.
        found = [r for r in index.get(edit.source, []) if hashes[r] == edit.sha256]
        if found:
            rows.append(found[0])
        else:
            why = "its pixels differ" if counts[edit.source] else "not in the source"
            lost.append(f"line {edit.line}: {edit.source} ({why})")
    if lost:
        more = f"; and {len(lost) - 5} more" if len(lost) > 5 else ""
        raise DataError(
            f"{table} does not match: {len(lost)} of {len(edits)} rows name an image that is not "
            f"in {dataset.name}: {'; '.join(lost[:5])}{more}",
            hint="apply it to the source that was audited, with the same size; or audit again",
        )
    return rows
