"""Results of finished trainings in one JSON-lines file, which can be committed, copied and joined.

Each line is one training: its settings, the version of mien and the data that it used, and its
measures, from which verdicts are computed. The lines of several files together are a valid file.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from mien import __version__
from mien.errors import MienError, SourceError, counted
from mien.files import write_text
from mien.study.cell import Result, read_result
from mien.study.measures import BOUNDS, MEASURES
from mien.study.plan import Training, trainings
from mien.train.recipe.recipe import recipe_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from mien.study.plan import Plan

DAMAGED = "remove or repair that line; without it, its training is run again"
REASONS = {
    "data": "of other data",
    "version": "of another version of mien",
    "settings": "of settings that this study does not have",
}
"""Why a line is not used, in words."""
SETTINGS = ("recipe", "train", "validation")
RESULT_KEYS = tuple(f.name for f in fields(Result) if f.name != "key")
NUMBERS = {"parameters": int, "train_n": int, "validation_n": int, "seconds": float}


@dataclass(slots=True)
class ResultsFile:
    """The file of a study's results; `open_results` reads it.

    Attributes:
        path: of the file.
        fingerprint: of the study's data.
        results: usable ones, by the key of the training.
        lines: of the file, also those that this study does not use.
        unused: reason, a key of REASONS → number of lines.
    """

    path: Path
    fingerprint: str
    results: dict[str, Result]
    lines: list[str]
    unused: dict[str, int]

    def add(self, finished: Iterable[tuple[Training, Result]]) -> None:
        """Add results that the file lacks, and write it; the other lines stay as they are.

        Results of another version of mien are left out: they would not be used again.

        Raises:
            WriteError: the file could not be written.
        """
        before = len(self.lines)
        for training, result in finished:
            if training.key not in self.results and result.mien == __version__:
                self.results[training.key] = result
                self.lines.append(_line(training, result))
        if len(self.lines) > before:
            # All of it, in place of appending: a killed process leaves no half line.
            write_text(self.path, "\n".join(self.lines) + "\n")

    def add_from_folder(self, known: Mapping[str, Training], folder: Path) -> None:
        """Add the results in the study's folder that the file lacks; see `add`."""
        found = ((t, read_result(folder, key, self.fingerprint)) for key, t in known.items())
        self.add([(t, r) for t, r in found if r is not None])

    def summary(self) -> str:
        """Return in one line how many trainings were taken, and how many lines not, and why."""
        text = f"{self.path}: {counted(len(self.results), 'finished training')}"
        if not self.unused:
            return text
        why = ", ".join(f"{n} {REASONS[reason]}" for reason, n in self.unused.items())
        return f"{text}; {counted(sum(self.unused.values()), 'line')} not used: {why}"


def open_results(path: Path, plan: Plan, fingerprint: str) -> ResultsFile:
    """Read a results file; a missing one is empty, and is created with the first result.

    A line is used if the study has its settings, the data's fingerprint is the same and it was
    written by this version of mien. Settings that were added to recipes since count by their
    defaults. Of several lines of one training the first is used.

    Args:
        path: of the file.
        plan: the study.
        fingerprint: of its data.

    Raises:
        SourceError: the file cannot be read, or a line is damaged; the message names the line.
    """
    found = ResultsFile(path, fingerprint, {}, [], {})
    known = all_seeds(plan)
    for number, line in enumerate(_read(path), start=1):
        if not line.strip():
            continue
        values, key = _parse(line, f"{path}, line {number}"), ""
        found.lines.append(line)
        if values["fingerprint"] != fingerprint:
            reason = "data"
        elif values["mien"] != __version__ or set(values["measures"]) != set(MEASURES):
            reason = "version"
        else:
            key = values["key"] if values["key"] in known else _current_key(values)
            reason = "" if key in known else "settings"
        if reason:
            found.unused[reason] = found.unused.get(reason, 0) + 1
        elif key not in found.results:
            found.results[key] = Result(key, **{name: values[name] for name in RESULT_KEYS})
    return found


def all_seeds(plan: Plan) -> dict[str, Training]:
    """Return every training that the study may run, by its key."""
    return {
        training.key: training
        for factor in plan.factors
        for cell in factor.cells
        for training in trainings(plan, factor, cell, max(plan.seeds, plan.max_seeds))
    }


def find_result(
    folder: Path, key: str, fingerprint: str, stored: ResultsFile | None
) -> Result | None:
    """Return a training's result from the study's folder or the file; None if it has none."""
    result = read_result(folder, key, fingerprint)
    return stored.results.get(key) if result is None and stored is not None else result


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SourceError(
            f"cannot read {path}: {error.strerror}", hint="give a JSON-lines file of results"
        ) from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is not UTF-8 text: {error}", hint=DAMAGED) from error


def _line(training: Training, result: Result) -> str:
    values = {
        **asdict(result),
        "recipe": training.recipe.to_dict(),
        "train": training.train,
        "validation": training.validation,
    }
    return json.dumps(values, ensure_ascii=False, allow_nan=False)


def _parse(line: str, where: str) -> dict[str, Any]:
    """Return the values of a line.

    Raises:
        SourceError: it is not a training's result.
    """
    try:
        # json accepts NaN by default, which no result holds.
        values = json.loads(line, parse_constant=_no_constant)
    except ValueError as error:
        raise SourceError(f"{where} is not valid JSON: {error}", hint=DAMAGED) from error
    if not isinstance(values, dict):
        raise SourceError(f"{where}: expected an object, found {values!r:.40}", hint=DAMAGED)
    missing = [k for k in ("key", *RESULT_KEYS, *SETTINGS) if k not in values]
    if missing:
        raise SourceError(f"{where} lacks {', '.join(missing)}", hint=DAMAGED)
    for name, found in values.items():
        expected = _expected(name, found)
        if expected:
            raise SourceError(
                f"{where}: {name} must be {expected}, got {found!r:.60}", hint=DAMAGED
            )
    for name, found in values["measures"].items():
        low, high = BOUNDS.get(name, (-float("inf"), float("inf")))
        number = isinstance(found, int | float) and not isinstance(found, bool)
        if found is not None and not (number and low <= found <= high):
            raise SourceError(
                f"{where}: {name} must be null or a number from {low:g} to {high:g}, got "
                f"{found!r:.40}",
                hint=DAMAGED,
            )
    return values


def _expected(name: str, found: Any) -> str:
    """Return what a value of a line must be; '' if it is."""
    if name in ("recipe", "measures"):
        return "" if isinstance(found, dict) else "an object"
    if name in ("mien", "key", "fingerprint", "note", "part_of"):
        return "" if isinstance(found, str) else "text"
    if name in (*NUMBERS, "train", "validation"):
        whole = NUMBERS.get(name) is int
        kinds: Any = int if whole else int | float
        right = isinstance(found, kinds) and not isinstance(found, bool) and found >= 0
        return "" if right else f"a {'whole ' if whole else ''}number, 0 or more"
    return ""


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _current_key(values: dict[str, Any]) -> str:
    """Return the key that the line's settings have now; '' if recipes lost one of them."""
    try:
        recipe = recipe_from_dict(values["recipe"])
    except MienError:
        return ""
    return Training(recipe, values["train"], values["validation"]).key
