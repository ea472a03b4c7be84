"""Find and read the logs in a folder: event files of TensorBoard, and CSV files."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.doctor.logs.columns import KNOWN, Role, role_of
from mien.doctor.logs.events import read_events
from mien.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = "*tfevents*"


@dataclass(slots=True)
class Log:
    """The curves of one training.

    Attributes:
        curves: values of each quantity in the order of their steps.
        names: the column or tag that each quantity was read from.
        others: names that stand for none of the known quantities.
        remarks: what could not be read, in sentences.
    """

    curves: dict[Role, list[float]] = field(default_factory=dict)
    names: dict[Role, str] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def log_files(path: Path) -> list[Path]:
    """Return the event files and CSV files of a folder, searched in depth, or the file itself."""
    if path.is_file():
        return [path]
    # Sorted by name, which begins with the time in event files: a resumed training follows its
    # start.
    return sorted([*path.rglob(EVENTS), *path.rglob("*.csv")])


def read_logs(path: Path) -> Log:
    """Return the curves of the logs in a folder, or in one file.

    Raises:
        SourceError: there is no log, it cannot be read, or no column holds a training loss.
    """
    files = log_files(path)
    if not files:
        raise SourceError(
            f"{path}: no log found",
            hint="give a folder with TensorBoard's event files (events.out.tfevents...) or CSV "
            "files, or one such file",
        )
    series: dict[str, dict[int, float]] = {}
    log = Log()
    for file in files:
        try:
            part, remark = _events(file) if "tfevents" in file.name else _table(file)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise SourceError(f"{file}: cannot be read: {error}", hint="is it a log?") from error
        for name, values in part.items():
            # By step, so that a resumed training replaces the steps that it repeats.
            series.setdefault(name, {}).update(values)
        if remark:
            log.remarks.append(f"{remark}; what is before it was read.")
    for name, values in series.items():
        _assign(log, name, [values[step] for step in sorted(values)])
    if "loss" not in log.curves and "validation loss" not in log.curves:
        raise SourceError(
            f"{path}: no column or tag with a loss; found {', '.join(series) or 'none'}",
            hint=f"needed: {', '.join(KNOWN['loss'])}; further: "
            + "; ".join(f"{role}: {names[0]}" for role, names in KNOWN.items() if role != "loss"),
        )
    return log


def _assign(log: Log, name: str, values: list[float]) -> None:
    role = role_of(name)
    if role is None:
        log.others.append(name)
    # Of several names for one quantity the longest curve says most.
    elif role not in log.curves or len(values) > len(log.curves[role]):
        log.curves[role], log.names[role] = values, name


def _events(path: Path) -> tuple[dict[str, dict[int, float]], str]:
    scalars, remark = read_events(path)
    found: dict[str, dict[int, float]] = {}
    for scalar in scalars:
        found.setdefault(scalar.tag, {})[scalar.step] = scalar.value
    return found, remark


def _table(path: Path) -> tuple[dict[str, dict[int, float]], str]:
    """Return each column's numbers by row; empty cells are left out, as loggers mix their rows."""
    text = path.read_text(encoding="utf-8-sig")
    first = text.split("\n", 1)[0]
    # The most frequent one: a header of names may hold any of them once.
    delimiter = max(",;\t", key=first.count)
    found: dict[str, dict[int, float]] = {}
    for number, row in enumerate(csv.DictReader(text.splitlines(), delimiter=delimiter)):
        for name, cell in row.items():
            value = _number(cell)
            if name is not None and value is not None:
                found.setdefault(name.strip(), {})[number] = value
    return found, ""


def _number(cell: object) -> float | None:
    if not isinstance(cell, str) or not cell.strip():
        return None
    try:
        # Loops that log a tensor instead of loss.item() write 'tensor(0.5)'.
        return float(cell.strip().removeprefix("tensor(").removesuffix(")"))
    except ValueError:
        return math.nan if cell.strip().lower() in ("nan", "null", "none") else None
