"""Read the logs in a folder as curves, one `Log` for each run: read `read_runs` first."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mien.doctor.logs.columns import KNOWN, Role, role_of
from mien.doctor.logs.events import read_events
from mien.doctor.logs.files import COUNTED, TABLES, is_events, log_files
from mien.doctor.logs.runs import Part, Series, parts_of, runs_of
from mien.doctor.logs.tables import read_table
from mien.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


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

    @property
    def has_loss(self) -> bool:
        """Return whether it can be judged."""
        return "loss" in self.curves or "validation loss" in self.curves


def read_runs(path: Path) -> tuple[dict[str, Log], list[str]]:
    """Return the runs of the logs in a folder or file, by name, and remarks on what is left out.

    The name of a run is its folder or its table within `path`; the only run of a folder that is not
    in a folder of its own is named '.'.

    Raises:
        SourceError: there is no log, it cannot be read, or no column holds a loss.
    """
    parts = parts_of(path, {file: _read(file) for file in log_files(path)})
    runs = runs_of(parts)
    logs = {name: _log(run) for name, run in runs.items()}
    judged = {name: log for name, log in logs.items() if log.has_loss}
    if not judged:
        raise _no_loss(path, parts)
    remarks = [
        " ".join([f"{name} holds no loss and was not judged.", *log.remarks])
        for name, log in logs.items()
        if name not in judged
    ]
    return judged, remarks


def _read(path: Path) -> tuple[Series, str]:
    """Return the series of a file, and in sentences what could not be read, or ''."""
    try:
        if not is_events(path):
            return read_table(path), ""
        scalars, remark = read_events(path)
    except (OSError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read: {error}", hint="is it a log?") from error
    found: Series = {}
    for scalar in scalars:
        found.setdefault(scalar.tag, {})[scalar.step] = scalar.value
    return found, remark


def _log(parts: list[Part]) -> Log:
    log = Log(remarks=[remark for part in parts for remark in part.remarks])
    series: Series = {}
    for part in parts:
        for name, values in part.series.items():
            # By step, so that a resumed training replaces the steps that it repeats.
            series.setdefault(name, {}).update(values)
    for name, values in series.items():
        if values:
            _assign(log, name, [values[step] for step in sorted(values)])
    return log


def _assign(log: Log, name: str, values: list[float]) -> None:
    role = role_of(name)
    if role is None:
        log.others.append(name)
    # Of several names for one quantity the longest curve says most.
    elif role not in log.curves or len(values) > len(log.curves[role]):
        log.curves[role], log.names[role] = values, name


def _no_loss(path: Path, parts: list[Part]) -> SourceError:
    """Return the error for logs without a loss: what they hold instead, and what is needed."""
    series = {name: values for part in parts for name, values in part.series.items()}
    losses = [name for name in series if role_of(name) in ("loss", "validation loss")]
    damage = "".join(f" {remark}" for part in parts for remark in part.remarks)
    if path.is_file() and not path.stat().st_size:
        found = "the file is empty"
    elif series and not any(series.values()):
        found = f"only a header, and no row of numbers; its columns: {', '.join(series)}"
    elif losses:
        found = f"no number in {' and '.join(losses)}; found numbers in " + (
            ", ".join(name for name, values in series.items() if values)
        )
    else:
        found = f"no column or tag with a loss; found {', '.join(series) or 'none'}"
    needed = f"needed: {', '.join(KNOWN['loss'])}; further: " + "; ".join(
        f"{role}: {names[0]}" for role, names in KNOWN.items() if role != "loss"
    )
    foreign = path.is_file() and not is_events(path) and path.suffix.lower() not in TABLES
    return SourceError(
        f"{path}: {found}" + (f". {damage.strip()}" if damage else ""),
        hint=COUNTED if foreign else needed,
    )
