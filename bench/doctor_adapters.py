"""Runs one doctor on the programs of bench/doctor_cases.py, in that doctor's own environment.

    python doctor_adapters.py NAME --seeds 21,22,23 --out FILE [--sound] [--faults] [--curves FILE]

bench/doctor_peers.py calls it. Doctors that hook into the training see it themselves; those that
read logs get the curves that `published` has recorded: the loss, the gradient norm and the learning
rate of each step, and both losses of each epoch. Severities below a warning do not count. A row has
the names of the findings, and under `advice` what the doctor suggests for each, in its own words
(bench/doctor_advice.py applies it).
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

READERS = ("runmedic", "sk-autod", "training-doctor")
"""Doctors that read curves; their environments need no torch."""


Advice = dict[str, list[str]]
"""Finding → the sentences that the doctor suggests for it."""


def merge(pairs: Iterable[tuple[str, list[str]]]) -> Advice:
    """Join the sentences of equal findings, each sentence once."""
    found: Advice = {}
    for name, texts in pairs:
        known = found.setdefault(name, [])
        known += [t for t in dict.fromkeys(texts) if t not in known]
    return dict(sorted(found.items()))


def runmedic(curves: dict[str, Any]) -> Advice:
    from runmedic import loaders, roles
    from runmedic.checks import run_checks

    names = ("step", "train_loss", "val_loss", "lr", "grad_norm")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows({k: v for k, v in row.items() if k in names} for row in curves["rows"])
        (run,) = loaders.load(str(path))
        found = run_checks(run, roles.detect(run))
    return merge((f.check, f.fixes) for f in found if f.severity in ("critical", "warning"))


def sk_autod(curves: dict[str, Any]) -> Advice:
    from sk_autod import diagnose

    # It refuses curves that are not finite: what it says of those is that they are invalid.
    try:
        report = diagnose(curves["train_loss"], curves["val_loss"])
    except ValueError as error:
        return {"not finite": []} if "finite" in str(error) else {}
    return merge((f.detector_name, [f.recommendation]) for f in report.findings
                 if f.severity.value != "INFO")  # fmt: skip


def training_doctor(curves: dict[str, Any]) -> Advice:
    from training_doctor import Doctor

    doctor = Doctor()
    for row in curves["rows"]:
        renamed = {"loss": row.get("train_loss"), "eval_loss": row.get("val_loss"),
                   "lr": row.get("lr"), "grad_norm": row.get("grad_norm")}  # fmt: skip
        doctor.log(row["step"], **{k: v for k, v in renamed.items() if v is not None})
    return merge((d.problem, d.suggestions) for d in doctor.diagnoses
                 if d.severity.value != "info")  # fmt: skip


def torchmortem_observer() -> Any:
    from torchmortem import Autopsy
    from torchmortem.types import Severity

    from doctor_cases import Observer

    class Peer(Observer):
        def start(self, model: Any, optimizer: Any, loss: Any) -> None:
            self.autopsy = Autopsy(model, optimizer=optimizer)
            self.autopsy.attach()

        def step(self, loss: Any, x: Any, y: Any) -> None:
            self.autopsy.step(loss=loss.item())

        def end(self) -> None:
            self.autopsy.detach()
            report = self.autopsy.get_report()
            found = [] if report is None else report.findings
            self.advice = merge((f.title.split(" in ")[0], f.remediation) for f in found
                                if f.severity >= Severity.WARNING)  # fmt: skip

    return Peer()


def neuraldbg_observer() -> Any:
    from neuraldbg import NeuralDbg

    from doctor_cases import Observer

    healthy = {"healthy", "normal", "stable"}

    class Peer(Observer):
        def start(self, model: Any, optimizer: Any, loss: Any) -> None:
            self.debugger = NeuralDbg(model)
            self.debugger.__enter__()

        def step(self, loss: Any, x: Any, y: Any) -> None:
            self.debugger.record_loss(loss.item())
            self.debugger.step_iteration()

        def end(self) -> None:
            self.debugger.__exit__(None, None, None)
            # Its free part names events and suggests nothing.
            self.advice = merge(
                (f"{e.event_type.value.split('_')[0]} {e.to_state}", [])
                for e in self.debugger.get_events()
                if e.to_state not in healthy
            )

    return Peer()


def none_observer() -> Any:
    from doctor_cases import Observer

    return Observer()


def mien_observer() -> Any:
    from doctor_programs import Watched

    return Watched()


def published_observer() -> Any:
    return recorder()


def recorder() -> Any:
    """Return an observer that records curves, with the published rules beside it."""
    import torch

    from doctor_cases import Observer
    from doctor_published import PUBLISHED

    class Recorder(Observer):
        def start(self, model: Any, optimizer: Any, loss: Any) -> None:
            self.model, self.optimizer, self.loss = model, optimizer, loss
            self.parts = {name: kind() for name, kind in PUBLISHED.items()}
            self.rows: list[dict[str, Any]] = []
            self.train_loss: list[float] = []
            self.val_loss: list[float] = []
            self.losses: list[float] = []
            for part in self.parts.values():
                part.start(model, optimizer, loss)

        def backward(self, loss: Any, x: Any, y: Any) -> None:
            grads = [p.grad.norm() for p in self.model.parameters() if p.grad is not None]
            self.norm = float(torch.stack(grads).norm()) if grads else 0.0

        def step(self, loss: Any, x: Any, y: Any) -> None:
            self.losses.append(loss.item())
            self.rows.append({"step": len(self.rows), "train_loss": self.losses[-1],
                              "lr": self.optimizer.param_groups[0]["lr"],
                              "grad_norm": self.norm})  # fmt: skip
            for part in self.parts.values():
                part.step(loss, x, y)

        def validate(self, model: Any, x: Any, y: Any) -> None:
            for part in self.parts.values():
                part.validate(model, x, y)
            self.val_loss.append(next(iter(self.parts.values())).validation_loss[-1])
            self.train_loss.append(statistics.fmean(self.losses))
            self.losses = []
            self.rows[-1]["val_loss"] = self.val_loss[-1]

        def end(self) -> None:
            for part in self.parts.values():
                part.end()
            self.advice = merge((f"{name}: {n}", []) for name, part in self.parts.items()
                                for n in part.names)  # fmt: skip
            self.curves = {"rows": self.rows, "train_loss": self.train_loss,
                           "val_loss": self.val_loss}  # fmt: skip

    return Recorder()


OBSERVERS: dict[str, Callable[[], Any]] = {
    "none": none_observer,
    "mien": mien_observer,
    "published": published_observer,
    "torchmortem": torchmortem_observer,
    "neuraldbg": neuraldbg_observer,
}
ON_CURVES: dict[str, Callable[[dict[str, Any]], Advice]] = {
    "runmedic": runmedic,
    "sk-autod": sk_autod,
    "training-doctor": training_doctor,
}


def watch(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train every program that the file lacks with the doctor's observer."""
    import torch

    from doctor_cases import train
    from doctor_operators import trainings

    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    if arguments.out.exists():
        rows = json.loads(arguments.out.read_text(encoding="utf-8"))
    done = {(r["fault"], r["program"], r["optimizer"], r["seed"]) for r in rows}
    seeds = [int(s) for s in arguments.seeds.split(",")]
    for fault, case, kind, seed, change, right in trainings(
        seeds, sound=arguments.sound, faults=arguments.faults, quick=True
    ):
        if (fault, case.name, kind, seed) in done:
            continue
        observer, started, failure = OBSERVERS[name](), time.process_time(), ""
        score = math.nan
        try:
            score = train(case, kind, seed, change, observer)
        except Exception as error:  # noqa: BLE001 - a peer may fail on any program
            failure = f"{type(error).__name__}: {error}"
        row: dict[str, Any] = {
               "fault": fault, "program": case.name, "optimizer": kind, "seed": seed,
               "score": score, "right": list(right), "failure": failure,
               "cpu_s": time.process_time() - started,
               "advice": getattr(observer, "advice", {})}  # fmt: skip
        if name == "mien":
            row["advice"] = {f.name: [f.remedy] for f in observer.report.findings}
            row["numbers"] = {f.name: dict(f.numbers) for f in observer.report.findings}
        row["findings"] = list(row["advice"])
        if name == "published":
            row["curves"] = getattr(observer, "curves", None)
        rows.append(row)
        # Written after each training: a run that is broken off has its rows.
        arguments.out.write_text(json.dumps(rows), encoding="utf-8")
        print(f"{name}: {fault or 'sound'} {case.name} {seed} {row['findings']} {failure}",
              file=sys.stderr, flush=True)  # fmt: skip
    return rows


def read(name: str, curves: Path) -> list[dict[str, Any]]:
    """Judge recorded curves."""
    rows = []
    for row in json.loads(curves.read_text(encoding="utf-8")):
        if row.get("curves") is None:
            continue
        started = time.process_time()
        advice: Advice = {}
        failure = ""
        try:
            with contextlib.redirect_stdout(sys.stderr):
                advice = ON_CURVES[name](row["curves"])
        except Exception as error:  # noqa: BLE001 - a peer may fail on any log
            failure = f"{type(error).__name__}: {error}"
        kept = {k: row[k] for k in ("fault", "program", "optimizer", "seed", "score", "right")}
        rows.append({**kept, "failure": failure, "findings": list(advice), "advice": advice,
                     "cpu_s": time.process_time() - started})  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("name", choices=[*OBSERVERS, *ON_CURVES])
    parser.add_argument("--seeds", default="21,22,23")
    parser.add_argument("--sound", action="store_true")
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--curves", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    name = arguments.name
    rows = read(name, arguments.curves) if name in ON_CURVES else watch(name, arguments)
    arguments.out.write_text(json.dumps(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
