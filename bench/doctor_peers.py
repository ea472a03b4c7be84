"""Compares mien's doctor with other doctors on faults that are planted in small programs.

    python bench/doctor_peers.py --envs DIR --install       environments, one a package
    python bench/doctor_peers.py --envs DIR --out DIR [--seeds 21,22,23] [--planted DIR]
    python bench/doctor_peers.py --envs DIR --out DIR --table       prints what was measured

(a) mien's planted faults: `--planted` is the folder that bench/doctor.py --out wrote; doctors that
read logs judge the curves of those runs. (b) the operators of bench/doctor_operators.py on the
programs of bench/doctor_cases.py, (c) the same programs without a fault. Results are kept in
`--out`, one file a doctor; existing ones are not measured again. It prints tables in Markdown, with
the remedies that bench/doctor_advice.py tried.

A finding of another package counts as the right name if NAMES translates it into one of the names
that count for mien; the translation is generous: every cause that the finding suggests counts.
traincheck learns invariants from a sound run of the same program, which the other doctors do not
get: bench/doctor_traincheck.py. Overhead: bench/doctor_overhead.py, paired.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from mien.intervals import wilson

VERSIONS = {
    "runmedic": ("runmedic==0.1.1",),
    "sk-autod": ("sk-autod==0.1.1",),
    "training-doctor": ("training-doctor==0.1.0",),
    "torchmortem": ("torchmortem==0.1.1", "torch==2.13.0", "scikit-learn"),
    "neuraldbg": ("neuraldbg==1.3.2", "torch==2.13.0", "scikit-learn"),
}
READERS = ("runmedic", "sk-autod", "training-doctor")
PUBLISHED = ("AutoTrainer's rules", "DeepDiagnosis's rules", "UMLAUT's rules")
MIN_CHANGE = 0.02
"""Change of the final accuracy or R² from which a fault is detectable."""

HIGH = {"learning-rate-too-high", "diverged", "exploding-gradients"}
LOW = {"learning-rate-too-low", "learning-rate-vanishes"}
NOT_UPDATED = {"optimizer-not-stepped", "parameters-not-optimized", "frozen-parameters"}
VANISHING = {"vanishing-gradients", "saturated-activations", "no-gradient"}
ACTIVATION = {"loss-activation-mismatch", "saturated-activations", "vanishing-gradients"}
LABELS = {"shuffled-labels", "label-noise", "label-encoding"}
OVERFITTING = {"overfitting", "model-too-large", "too-little-data", "validation-loss-rises"}
SLOW = LOW | NOT_UPDATED | {"underfitting", "poor-initialization"}
NAMES: dict[str, dict[str, set[str]]] = {
    "runmedic": {
        "non_finite": HIGH | {"nonfinite-inputs"},
        "divergence": HIGH | {"weight-decay-on-norms", "data-not-shuffled"},
        "loss_spikes": HIGH | {"label-noise"},
        "grad_spikes": HIGH,
        "no_learning": LOW | NOT_UPDATED | LABELS,
        "overfitting": OVERFITTING,
    },
    "sk-autod": {
        "not finite": HIGH,
        "Exploding gradient": HIGH,
        "LR too high": HIGH,
        "LR too low": LOW,
        "Underfitting": {"underfitting", "model-too-small"},
        "Dying ReLU proxy": {"dead-units", "poor-initialization", "invalid-inputs"},
        "Noisy training": HIGH | {"batch-size-of-one", "batch-norm-small-batch"},
        "Data leakage": {"data-leakage", "preprocessing-differs"},
        "Label noise floor": LABELS | {"class-imbalance"},
        "Classic overfitting": OVERFITTING,
        "Missed early stopping": OVERFITTING,
    },
    "training-doctor": {
        "Learning rate likely too high": HIGH,
        "Learning rate may be too low": LOW,
        "Training plateau detected": SLOW,
        "Early training plateau": SLOW,
        "Overfitting detected": OVERFITTING,
        "Unusual train/eval pattern": {"data-leakage", "preprocessing-differs"},
        "Gradient instability detected": HIGH | VANISHING,
        "Possible mixed precision instability": {"mixed-precision-underflow"},
    },
    "torchmortem": {
        "Update ratio too low": LOW | NOT_UPDATED,
        "Update ratio too high": HIGH,
        "Activation saturation": ACTIVATION,
        "Dead units": {"dead-units", "poor-initialization"},
        "High gradient noise (low SNR)": {"batch-size-of-one", "batch-norm-small-batch"},
        "Vanishing gradients detected": VANISHING,
        "Exploding gradients detected": HIGH | {"gradients-accumulate"},
        "Gradient stalling": VANISHING | {"frozen-parameters"},
        "Weight norm explosion": HIGH,
        "Stagnant weight norms": LOW | NOT_UPDATED,
        "Inter-layer weight norm imbalance": {"poor-initialization"},
        "Training divergence detected": HIGH,
        "Loss plateau detected": SLOW,
        "Rank collapse": {"poor-initialization", "dead-units", "weight-decay-too-strong",
                          "dropout-too-strong"},
    },
    "neuraldbg": {
        "gradient vanishing": VANISHING | {"poor-initialization"},
        "gradient exploding": HIGH | {"gradients-accumulate"},
        "gradient saturated": ACTIVATION,
        "activation saturated": ACTIVATION,
        "activation dead": {"dead-units", "poor-initialization"},
        "activation anomalous": {"invalid-inputs", "poor-initialization"},
        "optimizer loss_plateau": SLOW,
        "optimizer loss_spike": HIGH,
        "optimizer diverging": HIGH,
        "data nan_detected": HIGH | {"nonfinite-inputs"},
        "data inf_detected": HIGH | {"nonfinite-inputs"},
        "data distribution_shift": {"invalid-inputs", "preprocessing-differs", "domain-shift"},
    },
    "AutoTrainer's rules": {
        "exploding gradient": HIGH,
        "vanishing gradient": VANISHING,
        "dying relu": {"dead-units"},
        "oscillating loss": HIGH | {"batch-size-of-one", "batch-norm-small-batch"},
        "slow convergence": LOW,
    },
    "DeepDiagnosis's rules": {
        "repair: last activation": {"loss-activation-mismatch"},
        "repair: activation": ACTIVATION | {"no-nonlinearity", "dead-units"},
        "repair: initial weights": {"poor-initialization"},
        "repair: normalise the data": {"invalid-inputs"},
        "repair: learning rate": HIGH | LOW,
        "vanishing gradient": VANISHING,
        "dead node": {"dead-units"},
        "saturated activation": {"saturated-activations"},
    },
    "UMLAUT's rules": {
        "input not normalised": {"invalid-inputs"},
        "nan in loss": HIGH,
        "last activation": {"loss-activation-mismatch"},
        "no nonlinear activation": {"no-nonlinearity"},
        "learning rate high": HIGH,
        "learning rate low": LOW,
        "overfitting": OVERFITTING,
        "high validation accuracy": {"data-leakage", "preprocessing-differs"} | LABELS,
    },
}  # fmt: skip
"""Doctor → its finding → names that it counts as."""


def install(envs: Path) -> None:
    """Create an environment for each package; one that cannot be installed is reported."""
    for name, packages in VERSIONS.items():
        python = envs / name / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(envs / name)], check=True)
        done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages])
        print(f"{name}: {'installed' if done.returncode == 0 else 'cannot be installed'}")


def measure(name: str, arguments: argparse.Namespace, kind: str, curves: Path | None) -> None:
    """Run a doctor in its environment, unless its results exist."""
    out = arguments.out / f"{name}-{kind}.json"
    python = arguments.envs / name / "bin" / "python"
    command = [str(python) if name in VERSIONS else sys.executable,
               str(Path(__file__).with_name("doctor_adapters.py")), name, "--seeds",
               arguments.seeds, f"--{kind}", "--out", str(out)]  # fmt: skip
    command += [] if curves is None else ["--curves", str(curves)]
    # neuraldbg writes a cache into the working folder.
    subprocess.run(command, check=True, cwd=arguments.out, env={**os.environ})


class _Runs(pickle.Unpickler):
    """Reads the runs of bench/doctor.py, whose classes are those of a script."""

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class("doctor" if module == "__main__" else module, name)


def planted_curves(folder: Path, out: Path) -> None:
    """Write the curves of bench/doctor.py's runs, which the doctors that read logs judge."""
    from doctor_faults import ALL
    from mien.doctor.diagnose import diagnose

    rows = []
    for file in sorted(folder.glob("*.pickle")):
        with file.open("rb") as opened:
            job, evidence, _ = _Runs(opened).load()
        steps: list[dict[str, Any]] = []
        for epoch, signals in enumerate(evidence.signals):
            for loss in signals.losses:
                steps.append({"step": len(steps), "train_loss": loss, "lr": signals.lr,
                              "grad_norm": signals.gradient_norm})  # fmt: skip
            if epoch < len(evidence.history) and steps:
                steps[-1]["val_loss"] = evidence.history[epoch].validation_loss
        if evidence.status == "failed":
            steps.append({"step": len(steps), "train_loss": math.nan})
        right = list(ALL[job.fault].names) if job.fault else []
        rows.append({
            "fault": job.fault, "program": "real" if job.real else "drawn", "optimizer": "",
            "seed": job.seed, "score": 0.0, "right": right,
            "mien": [f.name for f in diagnose(evidence)],
            "curves": {"rows": steps, "train_loss": [m.train_loss for m in evidence.history],
                       "val_loss": [m.validation_loss for m in evidence.history]},
        })  # fmt: skip
    out.write_text(json.dumps(rows), encoding="utf-8")


def is_named(doctor: str, row: dict[str, Any]) -> bool:
    """Return whether a finding translates into one of the fault's right names."""
    found = row["findings"]
    if doctor == "mien":
        return bool(set(found) & set(row["right"]))
    table = NAMES[doctor]
    return any(table.get(name, set()) & set(row["right"]) for name in found)


def load(out: Path, doctor: str, kind: str) -> list[dict[str, Any]] | None:
    """Return a doctor's rows; None where it was not measured."""
    path = out / f"{'published' if doctor in PUBLISHED else doctor}-{kind}.json"
    if not path.exists():
        return None
    rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    if doctor in PUBLISHED:
        prefix = f"{doctor}: "
        rows = [
            {**r, "findings": [f.removeprefix(prefix) for f in r["findings"]
                               if f.startswith(prefix)]}
            for r in rows
        ]  # fmt: skip
    return rows


def proportion(hits: list[bool]) -> str:
    if not hits:
        return "-"
    found = wilson(sum(hits), len(hits))
    return f"{sum(hits)}/{len(hits)} = {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def detectable(rows: list[dict[str, Any]], sound: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the faults that change the final score by more than MIN_CHANGE, or fail."""
    scores = {(r["program"], r["optimizer"], r["seed"]): r["score"] for r in sound}
    known = [(r, scores.get((r["program"], r["optimizer"], r["seed"]))) for r in rows]
    # `not <=` keeps a score that is not a number.
    return [r for r, s in known if s is not None and not abs(r["score"] - s) <= MIN_CHANGE]


def overhead(out: Path, doctor: str) -> str:
    """Return the median ratio of CPU times to the same training without a doctor."""
    if doctor in READERS:
        return "reads logs"
    if doctor in PUBLISHED:
        return "not comparable"  # three sets of rules and the recorder ran at once
    rows, plain = load(out, doctor, "sound"), load(out, "none", "sound")
    if not rows or not plain or "cpu_s" not in rows[0]:
        return "-"
    times = {(r["program"], r["optimizer"], r["seed"]): r["cpu_s"] for r in plain}
    ratios = [r["cpu_s"] / times[key] for r in rows
              if (key := (r["program"], r["optimizer"], r["seed"])) in times]  # fmt: skip
    return f"{statistics.median(ratios):.2f} x" if ratios else "-"


def remedies(out: Path, doctor: str) -> str:
    """Return how many of the faults that bench/doctor_advice.py tried went with a suggestion."""
    path = out / "advice.json"
    if not path.exists():
        return "-"
    rows = json.loads(path.read_text(encoding="utf-8"))
    return proportion([bool(r["right"]) for r in rows if r["doctor"] == doctor])


def table(out: Path) -> None:
    """Print the table."""
    print("| doctor | (b) detected | (b) named | detectable: detected | detectable: named | "
          "remedy right | (c) false alarms | CPU time |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    scored = load(out, "mien", "sound") or load(out, "published", "sound") or []
    for doctor in ("mien", *VERSIONS, *PUBLISHED):
        faults, sound = load(out, doctor, "faults"), load(out, doctor, "sound")
        if faults is None:
            print(f"| {doctor} | not measured | | | | | | |")
            continue
        changed = detectable(faults, scored)
        cells = [
            proportion([bool(r["findings"]) for r in faults]),
            proportion([is_named(doctor, r) for r in faults]),
            proportion([bool(r["findings"]) for r in changed]),
            proportion([is_named(doctor, r) for r in changed]),
            remedies(out, doctor),
            proportion([bool(r["findings"]) for r in sound or []]),
            overhead(out, doctor),
        ]
        print(f"| {doctor} | {' | '.join(cells)} |")


def planted_table(out: Path) -> None:
    """Print how the doctors judge mien's planted faults."""
    curves = json.loads((out / "planted-curves.json").read_text(encoding="utf-8"))
    print("\n| doctor | (a) detected | (a) named | sound: false alarms |")
    print("| --- | --- | --- | --- |")
    ours = [{**r, "findings": r["mien"]} for r in curves]
    for doctor in ("mien", *READERS):
        rows = ours if doctor == "mien" else load(out, doctor, "planted") or []
        faults = [r for r in rows if r["fault"]]
        print(f"| {doctor} | {proportion([bool(r['findings']) for r in faults])} | "
              f"{proportion([is_named(doctor, r) for r in faults])} | "
              f"{proportion([bool(r['findings']) for r in rows if not r['fault']])} |")  # fmt: skip


def measure_all(arguments: argparse.Namespace) -> None:
    """Run every doctor on every program, and on mien's planted faults."""
    for kind in ("faults", "sound"):
        for name in ("none", "mien", "published", "torchmortem", "neuraldbg"):
            measure(name, arguments, kind, None)
        for name in READERS:
            measure(name, arguments, kind, arguments.out / f"published-{kind}.json")
    if arguments.planted is not None:
        curves = arguments.out / "planted-curves.json"
        planted_curves(arguments.planted, curves)
        for name in READERS:
            out = arguments.out / f"{name}-planted.json"
            command = [str(arguments.envs / name / "bin" / "python"),
                       str(Path(__file__).with_name("doctor_adapters.py")), name,
                       "--curves", str(curves), "--out", str(out)]  # fmt: skip
            subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--envs", type=Path, required=True, help="folder of the environments")
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/doctor-peers"))
    parser.add_argument("--seeds", default="21,22,23")
    parser.add_argument("--planted", type=Path, help="folder that bench/doctor.py --out wrote")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    arguments.envs, arguments.out = arguments.envs.resolve(), arguments.out.resolve()
    if arguments.install:
        install(arguments.envs)
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    if not arguments.table:
        measure_all(arguments)
    table(arguments.out)
    if arguments.planted is not None:
        planted_table(arguments.out)


if __name__ == "__main__":
    main()
