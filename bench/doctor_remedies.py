"""Applies the doctor's remedies: does a second training no longer have the fault?

    python bench/doctor_remedies.py --faces [--data DIR] [--seeds 31] [--size 1500] [--only NAME]
    python bench/doctor_remedies.py --programs [--seeds 31,32] [--only NAME]

`--faces` plants the faults of bench/doctor.py in trainings on real faces (drawn ones without
--data) and calls what `mien doctor RUN --try` calls. It also counts the faults that are named, and
with --sound N false alarms. `--programs` plants the operators of bench/doctor_operators.py; REPAIRS
of bench/doctor_repairs.py applies the first remedy of the finding that names the fault, as its text
says.

A remedy counts as working if the second training has none of the findings that name its fault.
Faults whose remedy is other data, or which no remedy names in a form that a program can apply, are
listed and not counted. With --json, trainings that the file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from doctor import Job, planted
from doctor_cases import Setup, train
from doctor_faults import ALL, FAULTS, TRICKS
from doctor_operators import trainings
from doctor_programs import Watched
from doctor_repairs import REPAIRS
from mien.doctor.run_diagnostics import run_diagnostics
from mien.doctor.trial import run_trial
from mien.errors import TrainingError
from mien.intervals import wilson
from mien.train.loop.fit import fit
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.folder import create_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor import Finding

NO_LIMIT_S = 1e6


def try_on_faces(job: Job) -> dict[str, Any]:
    """Train with the fault planted, diagnose, and train again with the first remedy."""
    data, values, trick = planted(job)
    right = set(ALL[job.fault].names) if job.fault else set()
    with tempfile.TemporaryDirectory() as folder, TRICKS[trick]():
        run = create_run(Path(folder) / "run", recipe_from_dict(values), data, Path(folder))
        with contextlib.suppress(TrainingError):
            fit(run, data)
        found = run_diagnostics(run, data, test_rates=True)
        row = {"fault": job.fault, "seed": job.seed, "findings": [f.name for f in found]}
        named = [f for f in found if f.name in right]
        first = next((f for f in named if f.settings), None)
        if first is None:
            return {**row, "named": bool(named), "tried": "", "evidence": _evidence(found)}
        trial = run_trial(run, data, Path(folder), first, Path(folder) / "try", budget_s=NO_LIMIT_S)
    after = [f.name for f in trial.findings]
    return {
        **row, "named": True, "tried": first.name, "settings": list(trial.settings),
        "after": after, "gone": not trial.failure and not right & set(after),
        "before": trial.before, "later": trial.after, "failure": trial.failure,
        "evidence": _evidence([*found, *trial.findings]),
    }  # fmt: skip


def _evidence(findings: list[Finding]) -> list[str]:
    return [f"{f.name}: {f.evidence}" for f in findings]


def try_on_program(
    name: str, case: Any, kind: str, seed: int, change: Any, right: tuple[str, ...]
) -> dict[str, Any]:
    """Watch a program with a planted fault, and train it again with the remedy."""
    observer = Watched()
    before = train(case, kind, seed, change, observer)
    found = observer.report.findings
    named = [f for f in found if f.name in right]
    row = {"fault": name, "program": case.name, "seed": seed, "named": bool(named),
           "findings": [f.name for f in found], "before": before}  # fmt: skip
    first = named[0] if named else None
    if first is None or first.name not in REPAIRS:
        return {**row, "tried": "", "remedy": first.remedy if first else ""}
    repair = REPAIRS[first.name]

    def changed(setup: Setup, number: int) -> None:
        setup.sound = setup.case
        change(setup, number)
        repair(setup, first)

    again = Watched()
    try:
        later = train(case, kind, seed, changed, again)
    except TypeError as error:  # the repair does not know this program
        return {**row, "tried": "", "remedy": f"{first.remedy} ({error})"}
    except (RuntimeError, ValueError) as error:  # a remedy that breaks the loop does not work
        return {**row, "tried": first.name, "remedy": first.remedy, "after": [], "gone": False,
                "later": None, "failure": str(error), "evidence": []}  # fmt: skip
    after = [f.name for f in again.report.findings]
    return {**row, "tried": first.name, "remedy": first.remedy, "after": after,
            "gone": not set(after) & set(right), "later": later,
            "evidence": _evidence(list(again.report.findings))}  # fmt: skip


def show(rows: list[dict[str, Any]]) -> None:
    """Print the rates with their 95% Wilson intervals, and each remedy that fails."""
    planted_rows = [r for r in rows if r["fault"]]
    tried = [r for r in planted_rows if r["tried"]]
    rate("faults named", [r["named"] for r in planted_rows])
    rate("remedies that remove the fault", [r["gone"] for r in tried])
    rate("... and leave no other finding", [r["gone"] and not r["after"] for r in tried])
    rate("sound trainings with a finding", [bool(r["findings"]) for r in rows if not r["fault"]])
    for row in tried:
        if not row["gone"]:
            what = row.get("settings") or row.get("remedy")
            print(f"fails: {row['fault']} {row.get('program', '')}: {row['tried']}: {what}; "
                  f"afterwards {row['after']} {row.get('failure', '')}")  # fmt: skip
    left = [r for r in planted_rows if r["named"] and not r["tried"]]
    print("not tried:", ", ".join(sorted({r["fault"] for r in left})) or "none")
    print("not named:", ", ".join(r["fault"] for r in planted_rows if not r["named"]) or "none")


def rate(name: str, hits: list[bool]) -> None:
    if hits:
        found = wilson(sum(hits), len(hits))
        print(f"{name}: {sum(hits)} of {len(hits)} = {found.value:.3f} "
              f"(95% interval {found.low:.3f} to {found.high:.3f})")  # fmt: skip


def _key(row: dict[str, Any]) -> tuple[str, str, int]:
    return row["fault"], row.get("program", ""), row["seed"]


Task = tuple[tuple[str, str, int], "Callable[[], dict[str, Any]]"]


def tasks_of(arguments: argparse.Namespace, seeds: list[int]) -> list[Task]:
    """Return the trainings to make, each with the key of its row."""
    tasks: list[Task] = []
    if arguments.programs:
        for found in trainings(seeds, sound=False, faults=True, quick=True):
            if arguments.only in found[0]:
                key = (found[0], found[1].name, found[3])
                tasks.append((key, lambda found=found: try_on_program(*found)))  # type: ignore[misc]
    if arguments.faces:
        jobs = [Job(f, s, arguments.data, "", arguments.size) for f in FAULTS for s in seeds
                if arguments.only in f]  # fmt: skip
        sound = range(seeds[0], seeds[0] + arguments.sound)
        jobs += [Job("", number, arguments.data, "", arguments.size) for number in sound]
        tasks += [((j.fault, "", j.seed), lambda j=j: try_on_faces(j)) for j in jobs]  # type: ignore[misc]
    return tasks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--faces", action="store_true")
    parser.add_argument("--programs", action="store_true")
    parser.add_argument("--data", default="", help="a dataset folder with votes")
    parser.add_argument("--seeds", default="31")
    parser.add_argument("--size", type=int, default=1500, help="real training images")
    parser.add_argument("--sound", type=int, default=0, help="sound trainings on faces")
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--json", type=Path, help="file to write the rows into")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [int(s) for s in arguments.seeds.split(",")]
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))
    done = {_key(row) for row in rows}
    for key, task in tasks_of(arguments, seeds):
        if key in done:
            continue
        started = time.process_time()
        rows.append(task())
        row = rows[-1]
        where = f"{row['fault'] or 'sound'} {row.get('program', '')} {row['seed']}"
        after = f"{row['tried']}: {row.get('gone', '')} {row.get('after', '')}"
        seconds = time.process_time() - started
        print(f"{where} {seconds:.0f} s CPU: {row['findings']} -> {after}", file=sys.stderr,
              flush=True)  # fmt: skip
        if arguments.json:  # after each: what is broken off has its rows
            arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    show(rows)


if __name__ == "__main__":
    main()
