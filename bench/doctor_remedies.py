"""Applies the doctor's remedies: does a second training no longer have the fault?

    python bench/doctor_remedies.py --faces [--data DIR] [--seeds 31] [--size 1500] [--only NAME]
    python bench/doctor_remedies.py --programs [--seeds 31,32] [--only NAME]

`--faces` plants the faults of bench/doctor.py in trainings on real faces (drawn ones without
--data) and calls what `mien doctor RUN --try` calls. It also counts the faults that are named, and
with --sound N false alarms. `--programs` plants the operators of bench/doctor_operators.py; REPAIRS
applies the first remedy of the finding that names the fault, as its text says.

A remedy counts as working if the second training has none of the findings that name its fault.
Faults whose remedy is other data, or which no remedy names in a form that a program can apply, are
listed and not counted. With --json, trainings that the file already holds are not repeated.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from doctor import Job, planted
from doctor_cases import Setup, train
from doctor_data_settings import drop_in_training, remove_target
from doctor_faults import ALL, FAULTS, TRICKS
from doctor_operators import rebuild, trainings
from doctor_programs import Watched
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


def set_rate(setup: Setup, finding: Finding) -> None:
    """Lower (or raise) the learning rate to the one that the remedy names."""
    named = re.search(r"to about (\d[\d.e+-]*)", finding.remedy)
    assert named is not None, finding.remedy
    for group in setup.optimizer.param_groups:
        group["lr"] = float(named.group(1).rstrip("."))


def set_rate_and_clip(setup: Setup, finding: Finding) -> None:
    set_rate(setup, finding)
    setup.clip = 1.0


def clip(setup: Setup, finding: Finding) -> None:
    setup.clip = 1.0


def clear_gradients(setup: Setup, finding: Finding) -> None:
    setup.zero_grad = True


def train_all(setup: Setup, finding: Finding) -> None:
    """Give the optimiser all parameters of the model that the loop calls."""
    for parameter in setup.model.parameters():
        parameter.requires_grad = True
    rebuild(setup)


def fit_activation_to_loss(setup: Setup, finding: Finding) -> None:
    """Remove the last activation; cross-entropy or log_softmax where the loss met classes."""
    if isinstance(setup.loss, nn.KLDivLoss):
        setup.model = nn.Sequential(setup.model, nn.LogSoftmax(dim=1))
        rebuild(setup)
    elif isinstance(setup.loss, nn.MSELoss | nn.L1Loss) and setup.case.y.shape[-1] > 1:
        y, yv = (t.argmax(dim=1) for t in (setup.case.y, setup.case.yv))
        setup.loss, setup.case = nn.CrossEntropyLoss(), replace(setup.case, y=y, yv=yv)
    else:
        setup.model = setup.model[0]  # type: ignore[index]
        rebuild(setup)


def use_relu(setup: Setup, finding: Finding) -> None:
    setup.model = nn.Sequential(
        *(nn.ReLU() if isinstance(m, nn.Sigmoid | nn.Tanh) else m for m in setup.model.children())
    )
    rebuild(setup)


def use_leaky_relu(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.LeakyReLU())


def add_activations(setup: Setup, finding: Finding) -> None:
    parts: list[nn.Module] = []
    for module in setup.model.children():
        if parts and isinstance(module, nn.Linear) and isinstance(parts[-1], nn.Linear):
            parts.append(nn.ReLU())
        parts.append(module)
    setup.model = nn.Sequential(*parts)
    rebuild(setup)


def initialize(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        reset: Any = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if reset is not None:
            reset()
    place: Any = getattr(setup.model, "place", None)
    if place is not None:
        nn.init.normal_(place, std=0.02)


def add_biases(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        if isinstance(module, nn.Linear) and module.bias is None:
            module.bias = nn.Parameter(torch.zeros(module.out_features))
    mean = finding.numbers.get("target_mean")
    if mean is not None:
        layers = [m for m in setup.model.modules() if isinstance(m, nn.Linear)]
        nn.init.constant_(layers[-1].bias, float(mean))
    rebuild(setup)


def lower_penalty(setup: Setup, finding: Finding) -> None:
    """Divide the penalty's factor by what the finding names."""
    setup.loss.factor /= float(finding.numbers["divisor"] or 1)


def larger_batches(setup: Setup, finding: Finding) -> None:
    setup.case = replace(setup.case, batch=32, epochs=15)


def shuffle(setup: Setup, finding: Finding) -> None:
    setup.shuffle = True


def call_train(setup: Setup, finding: Finding) -> None:
    setup.train_mode = True


def call_eval(setup: Setup, finding: Finding) -> None:
    setup.eval_mode = True


def step_scheduler(setup: Setup, finding: Finding) -> None:
    """Step as often as the settings count: a one-cycle schedule per batch, StepLR per epoch."""
    setup.per_batch = isinstance(setup.scheduler, torch.optim.lr_scheduler.OneCycleLR)
    if setup.per_batch:  # the fault's count leaves out the incomplete batches
        steps = setup.case.epochs * -(-len(setup.case.x) // setup.case.batch)
        rate = setup.optimizer.param_groups[0]["max_lr"]
        setup.scheduler = torch.optim.lr_scheduler.OneCycleLR(
            setup.optimizer, rate, total_steps=steps
        )


def weaken_dropout(setup: Setup, finding: Finding) -> None:
    for module in setup.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = min(module.p, 0.3)


def weaken_decay(setup: Setup, finding: Finding) -> None:
    for group in setup.optimizer.param_groups:
        group["weight_decay"] = min(group["weight_decay"], 1e-2)


def normalize(setup: Setup, finding: Finding) -> None:
    case = setup.case
    mean, std = case.x.mean(), case.x.std()
    setup.case = replace(case, x=(case.x - mean) / std, xv=(case.xv - mean) / std)


def normalize_alike(setup: Setup, finding: Finding) -> None:
    """Leave out the transformation that only validation has."""
    assert setup.sound is not None
    setup.case = replace(setup.case, xv=setup.sound.xv)


def remove_duplicates(setup: Setup, finding: Finding) -> None:
    case = setup.case
    held = {row.numpy().tobytes() for row in case.xv}
    kept = torch.tensor([row.numpy().tobytes() not in held for row in case.x])
    setup.case = replace(case, x=case.x[kept], y=case.y[kept])


def shift_labels(setup: Setup, finding: Finding) -> None:
    """Undo the offset that the finding measured."""
    offset, case = int(finding.numbers.get("offset") or 0), setup.case
    classes = 1 + int(case.y.max())
    setup.case = replace(case, yv=(case.yv - offset) % classes)


REPAIRS: dict[str, Callable[[Setup, Finding], None]] = {
    "learning-rate-too-high": set_rate,
    "learning-rate-too-low": set_rate,
    "diverged": set_rate_and_clip,
    "exploding-gradients": clip,
    "gradients-accumulate": clear_gradients,
    "parameters-not-optimized": train_all,
    "optimizer-not-stepped": train_all,
    "frozen-parameters": train_all,
    "loss-activation-mismatch": fit_activation_to_loss,
    "vanishing-gradients": use_relu,
    "saturated-activations": use_relu,
    "dead-units": use_leaky_relu,
    "no-nonlinearity": add_activations,
    "poor-initialization": initialize,
    "missing-bias": add_biases,
    "penalty-too-strong": lower_penalty,
    "stochastic-evaluation": drop_in_training,
    "target-leakage": remove_target,
    "batch-norm-small-batch": larger_batches,
    "batch-size-of-one": larger_batches,
    "data-not-shuffled": shuffle,
    "trained-in-eval-mode": call_train,
    "evaluated-in-train-mode": call_eval,
    "learning-rate-vanishes": step_scheduler,
    "scheduler-steps": step_scheduler,
    "dropout-too-strong": weaken_dropout,
    "weight-decay-too-strong": weaken_decay,
    "weight-decay-on-norms": weaken_decay,
    "invalid-inputs": normalize,
    "preprocessing-differs": normalize_alike,
    "domain-shift": normalize_alike,
    "data-leakage": remove_duplicates,
    "label-encoding": shift_labels,
}
"""Finding → what its remedy asks for. Label noise, shuffled labels and exchanged classes need other
labels, which no program can supply."""


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
