"""Watches the programs of bench/doctor_cases.py, sound and with planted faults, with mien's doctor.

    python bench/doctor_programs.py [--seeds 0,1,2] [--only NAME] [--sound] [--quick] [--json FILE]

Sound programs: digits (MLP and CNN), iris, wine, diabetes, breast cancer, two moons, a text
classifier and a transformer block on synthetic sentences, each with SGD, Adam and AdamW. A finding
on one of them is a false alarm. The thresholds were set with seeds below 10; report figures
with others. With sound programs and faults of the same seed, it also counts the detectable faults:
those that change the final accuracy (or R²) by more than 2 points. With --json, trainings that the
file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from doctor_cases import Case, Observer, train
from doctor_operators import trainings
from mien import doctor
from mien.intervals import wilson

if TYPE_CHECKING:
    from mien.doctor import Report

MIN_CHANGE = 0.02
"""Change of the final accuracy or R² from which a fault is detectable."""


class Watched(Observer):
    """Watches a training as its loop would."""

    def start(self, model: Any, optimizer: Any, loss: Any) -> None:
        self.watch = doctor.watch(model, optimizer, loss=loss)
        self.watch.__enter__()

    def step(self, loss: Any, x: Any, y: Any) -> None:
        self.watch.step(loss, x, y)

    def validate(self, model: Any, x: Any, y: Any) -> None:
        self.watch.validate(model, x, y)

    def end(self) -> None:
        self.report: Report = self.watch.report()
        self.watch.__exit__(None, None, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--only", default="", help="name of a fault or of a program")
    parser.add_argument("--sound", action="store_true", help="sound programs only")
    parser.add_argument("--faults", action="store_true", help="faults only")
    parser.add_argument("--quick", action="store_true", help="one program for each fault and seed")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = [int(s) for s in arguments.seeds.split(",")]
    found = trainings(seeds, sound=not arguments.faults, faults=not arguments.sound,
                      quick=arguments.quick, only=arguments.only)  # fmt: skip
    rows: list[dict[str, Any]] = []
    if arguments.json and arguments.json.exists():
        rows = json.loads(arguments.json.read_text(encoding="utf-8"))
    done = {(r["fault"], r["program"], r["optimizer"], r["seed"]) for r in rows}
    for training in found:
        name, case, kind, seed = training[:4]
        if (name, case.name, kind, seed) in done:
            continue
        rows.append(one(*training))
        if arguments.json:  # after each: what is broken off has its rows
            arguments.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    summary(rows)


def one(
    name: str, case: Case, kind: str, seed: int, change: Any, rules: tuple[str, ...]
) -> dict[str, Any]:
    """Watch one training; return what was found."""
    started, observer = time.perf_counter(), Watched()
    value = train(case, kind, seed, change, observer)
    report = observer.report
    names = [f.name for f in report.findings]
    named = bool(set(names) & set(rules))
    mark = ("ok " if named else "MISS" if not names else "other") if name else \
        ("ALARM" if names else "ok ")  # fmt: skip
    text = f"{mark:5} {name or 'sound':22} {case.name:11} {kind:5} {seed} {value:6.3f}"
    print(
        f"{text} {time.perf_counter() - started:4.1f}s {' '.join(names)}",
        file=sys.stderr,
        flush=True,
    )
    return {"fault": name, "program": case.name, "optimizer": kind, "seed": seed, "score": value,
            "findings": names, "named": named,
            "evidence": [f.evidence for f in report.findings]}  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> None:
    """Print the rates with their 95% Wilson intervals."""
    sound = [r for r in rows if not r["fault"]]
    planted = [r for r in rows if r["fault"]]
    scores = {(r["program"], r["optimizer"], r["seed"]): r["score"] for r in sound}
    pairs = [(r, scores.get((r["program"], r["optimizer"], r["seed"]))) for r in planted]
    # A score that is not a number is a change as well.
    changed = [r for r, s in pairs if s is not None and not abs(r["score"] - s) <= MIN_CHANGE]
    rate("sound trainings with a finding", [bool(r["findings"]) for r in sound])
    rate("faults detected", [bool(r["findings"]) for r in planted])
    rate("faults named", [r["named"] for r in planted])
    rate("detectable faults detected", [bool(r["findings"]) for r in changed])
    rate("detectable faults named", [r["named"] for r in changed])


def rate(name: str, hits: list[bool]) -> None:
    if hits:
        found = wilson(sum(hits), len(hits))
        print(f"{name}: {sum(hits)} of {len(hits)} = {found.value:.3f} "
              f"(95% interval {found.low:.3f} to {found.high:.3f})")  # fmt: skip


if __name__ == "__main__":
    main()
