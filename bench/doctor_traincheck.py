"""Runs traincheck on one program of bench/doctor_cases.py, in its own environment.

    python bench/doctor_traincheck.py --env ENVS/traincheck --out DIR [--program digits] [--seed 41]
        [--faults zero-grad-forgotten,head-only] [--install]

traincheck 0.2.0 learns invariants from a sound run and reports which ones another run violates.
The other doctors get no sound run. Here the invariants are those of a sound run with REFERENCE as
its seed; a sound run with `--seed` shows how many are violated without a fault, and `new` counts
the violations that it does not have. Each run has EPOCHS epochs of STEPS steps: a trace holds
every call. It prints the violations and the CPU time of the loop, traced over untraced; `named` is
whether a new violation translates into a right name with CAUSES, which is generous, as NAMES of
bench/doctor_peers.py: a violation names each part of the loop that it mentions.
Faults that act after STEPS steps, or in validation, cannot show.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGES = ("traincheck==0.2.0", "torch==2.13.0", "scikit-learn")
REFERENCE, EPOCHS, STEPS = 0, 2, 10

CAUSES = {
    "CrossEntropyLoss": {"loss-activation-mismatch"},
    "ReLU.forward()": {"vanishing-gradients", "saturated-activations", "no-nonlinearity",
                       "hidden-softmax"},
    "Dropout.forward()": {"dropout-too-strong"},
    "zero_grad() always occurs": {"gradients-accumulate"},
    "requires_grad": {"frozen-parameters", "parameters-not-optimized"},
    "step() changes Parameter": {"optimizer-not-stepped", "parameters-not-optimized"},
    "init.": {"poor-initialization"},
}  # fmt: skip
"""Part of a violated invariant's name → names that it counts as."""

SCRIPT = """
import sys, time
sys.path.insert(0, {bench!r})
import torch
from torch import nn
from doctor_cases import OPTIMIZERS, Setup, cases
import doctor_deepcrime
from doctor_operators import FAULTS

torch.set_num_threads(1)
torch.manual_seed({seed})
case = cases({seed})[{program!r}]
model = case.model()
make, rate = OPTIMIZERS[{optimizer!r}]
optimizer = make(model.parameters(), lr=rate)
criterion = nn.MSELoss() if case.is_regression else nn.CrossEntropyLoss()
setup = Setup(case, model, optimizer, criterion)
if {fault!r}:
    FAULTS[{fault!r}][0](setup, {seed})
case, criterion, optimizer, model = setup.case, setup.loss, setup.optimizer, setup.model
started = time.process_time()
for epoch in range({epochs}):
    if setup.train_mode:
        model.train()
    order = torch.randperm(len(case.x)) if setup.shuffle else torch.arange(len(case.x))
    for rows in order.split(case.batch)[:{steps}]:
        x, y = case.x[rows], case.y[rows]
        if setup.zero_grad:
            optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        if setup.clip:
            nn.utils.clip_grad_norm_(model.parameters(), setup.clip)
        optimizer.step()
        if setup.scheduler is not None and setup.per_batch:
            setup.scheduler.step()
    if setup.eval_mode:
        model.eval()
    with torch.no_grad():
        model(case.xv)
    if setup.scheduler is not None and not setup.per_batch:
        setup.scheduler.step()
print("CPU seconds", time.process_time() - started)
"""


def call(arguments: argparse.Namespace, *command: str) -> str:
    """Run a program of the environment in the output folder; return what it printed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [str(arguments.env / "bin" / command[0]), *command[1:]],
        cwd=arguments.out, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def seconds(text: str) -> float | None:
    """Return the CPU seconds that a script printed; None if it failed before."""
    found = [line for line in text.splitlines() if line.startswith("CPU seconds")]
    return float(found[-1].split()[-1]) if found else None


def collect(arguments: argparse.Namespace, fault: str, seed: int, known: bool) -> dict[str, Any]:
    """Trace one training; return the folder of the trace, and the CPU time with and without."""
    name = f"{fault or 'sound'}-{seed}"
    script = arguments.out / f"{name}.py"
    script.write_text(
        SCRIPT.format(bench=str(Path(__file__).parent.resolve()), seed=seed, fault=fault,
                      program=arguments.program, optimizer=arguments.optimizer, epochs=EPOCHS,
                      steps=STEPS)
    )  # fmt: skip
    plain = seconds(call(arguments, "python", script.name))
    more = ["--invariants", "invariants.json"] if known else []
    call(arguments, "traincheck-collect", "--pyscript", script.name, "--models-to-track", "model",
         *more, "--output-dir", f"trace-{name}")  # fmt: skip
    output = arguments.out / f"trace-{name}" / "program_output.txt"
    traced = seconds(output.read_text()) if output.exists() else None
    return {"fault": fault, "seed": seed, "plain_s": plain, "traced_s": traced, "name": name}


def violations(arguments: argparse.Namespace, name: str) -> list[str] | None:
    """Return the names of the violated invariants; None if the check failed."""
    call(arguments, "traincheck-check", "-f", f"trace-{name}", "-i", "invariants.json",
         "--no-html-report", "--output-dir", f"check-{name}")  # fmt: skip
    found = arguments.out / f"check-{name}" / f"trace-{name}" / "violations_summary.json"
    if not found.exists():
        return None
    return [v["display_name"] for v in json.loads(found.read_text())["violations"]]


def is_named(fault: str, new: list[str]) -> bool:
    """Return whether a violation that the sound run lacks names the fault."""
    import doctor_deepcrime  # noqa: F401 - registers its faults
    from doctor_operators import FAULTS

    right = set(FAULTS[fault][1]) if fault else set()
    return any(text in name and causes & right for name in new for text, causes in CAUSES.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--env", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--program", default="digits")
    parser.add_argument("--optimizer", default="adam")
    parser.add_argument("--seed", type=int, default=41)
    parser.add_argument("--faults", default="zero-grad-forgotten")
    parser.add_argument("--install", action="store_true")
    arguments = parser.parse_args()
    arguments.env, arguments.out = arguments.env.resolve(), arguments.out.resolve()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.install:
        subprocess.run([sys.executable, "-m", "venv", str(arguments.env)], check=True)
        print(call(arguments, "python", "-m", "pip", "install", "--quiet", *PACKAGES))
    if not (arguments.out / "invariants.json").exists():
        print(collect(arguments, "", REFERENCE, known=False), flush=True)
        call(arguments, "traincheck-infer", "-f", f"trace-sound-{REFERENCE}", "-o",
             "invariants.json")  # fmt: skip
    usual: set[str] = set()
    for fault in ["", *arguments.faults.split(",")]:
        row = collect(arguments, fault, arguments.seed, known=True)
        found = violations(arguments, row["name"])
        new = sorted(set(found or ()) - usual)
        usual |= set(found or ()) if not fault else set()
        row |= {"violated": None if found is None else len(found), "new": new,
                "named": is_named(fault, new)}  # fmt: skip
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
