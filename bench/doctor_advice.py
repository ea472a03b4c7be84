"""Trains the programs again with what each doctor suggests: does the fault go?

    python bench/doctor_advice.py --out DIR [--seeds 81] [--skip digits-cnn] [--limit N]

DIR is the folder that bench/doctor_peers.py wrote: findings and suggestions of each doctor. For
each detectable fault, each setting that a suggestion stands for (bench/doctor_settings.py; for mien
also REPAIRS of bench/doctor_remedies.py) is applied by itself and the program is trained again.
The remedy is right if, with one of them, the score is within 2 points of the sound program's, or
above it where the fault had lowered it. All suggestions of all findings count, whether or not the
fault was named; a finding whose suggestions stand for no setting has no remedy. Scores are kept in
DIR/advice-scores.json, the results in DIR/advice.json, which bench/doctor_peers.py prints.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

import doctor_remedies
from doctor_cases import Observer, Setup, train
from doctor_data_settings import BestEpoch
from doctor_operators import trainings
from doctor_peers import MIN_CHANGE, PUBLISHED, VERSIONS, detectable, load, proportion
from doctor_settings import BEST_EPOCH, SETTINGS, WIDTHS, settings_of, widen

if TYPE_CHECKING:
    from collections.abc import Callable

AUTOTRAINER_GRADIENTS = (
    "Using 'SeLU' activation in each layers' activations",
    "Using 'ReLU' activation in each layers' activations; Use 'he_uniform' as the kernel "
    "initializer.",
)
BATCH_NORM = "Using 'BatchNormalization' layers after each Dense layers in the model."
RATES = "learning rate"
SOLUTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "AutoTrainer's rules": {
        "vanishing gradient": (*AUTOTRAINER_GRADIENTS, BATCH_NORM),
        "exploding gradient": (*AUTOTRAINER_GRADIENTS, "Using 'Gradient Clip' operation",
                               "Using 'tanh' activation", BATCH_NORM),
        "dying relu": (AUTOTRAINER_GRADIENTS[0], BATCH_NORM, "initializer",
                       "Using advanced activation 'LeakyReLU'"),
        "oscillating loss": ("Using 'Adam' optimizer", "Using '0.1' learning rate",
                             "Using 'ReduceLROnPlateau' callbacks", "Using 'batch_size'",
                             "Using 'momentum' in SGD optimizer"),
        "slow convergence": ("Using 'Adam' optimizer", "Using '10' learning rate"),
    },
    "DeepDiagnosis's rules": {
        "repair: last activation": ("change the activation function to softmax",),
        "repair: activation": ("Please change the activation function at layer",
                               "Add dropout layer or Missing activation function",
                               "change sigmoid activation function"),
        "repair: initial weights": ("Poor Weight",),
        "repair: normalise the data": ("Normalize the data",),
        "repair: learning rate": (RATES,),
        "repair: optimizer": ("Please change optimizer",),
    },
    "UMLAUT's rules": {
        "input not normalised": ("You should normalize the input data",),
        "nan in loss": ("optimizers.Adam(learning_rate=0.001)", RATES),
        "last activation": ("Remove the `activation` argument from the last layer of your model.",),
        "no nonlinear activation": ("Make sure the `activation` argument is passed",),
        "learning rate high": ("optimizers.Adam(learning_rate=0.001)",),
        "learning rate low": ("optimizers.Adam(learning_rate=0.001)",),
        "overfitting": ("Try adding dropout or reducing the power of your model.",),
        "high validation accuracy": ("overlap between the training and validation data, or "
                                     "differences in preparing data",),
    },
}  # fmt: skip
"""What the published doctors say or do for a symptom, shortened from their repositories:
AutoTrainer's utils/repair.py ('balance'; its Gaussian noise is left out), DeepDiagnosis's
callback/callbacks.py, UMLAUT's umserver/errors.py."""

RATE_REPAIRS = (doctor_remedies.set_rate, doctor_remedies.set_rate_and_clip)
"""They need the rate that the remedy names."""

DOCTORS = ("mien", *VERSIONS, *PUBLISHED)
Key = tuple[str, str, str, int]


def key_of(row: dict[str, Any]) -> Key:
    return row["fault"], row["program"], row["optimizer"], row["seed"]


def sentences(doctor: str, row: dict[str, Any]) -> list[str]:
    """Return what a doctor suggests for a training, of all its findings."""
    if doctor in SOLUTIONS:
        return [t for name in row["findings"] for t in SOLUTIONS[doctor].get(name, ())]
    return [text for texts in row["advice"].values() for text in texts]


class Programs:
    """The programs with faults; trains them again and keeps the scores in a file."""

    def __init__(self, seeds: list[int], path: Path) -> None:
        self.found = {(t[0], t[1].name, t[2], t[3]): t
                      for t in trainings(seeds, sound=False, faults=True, quick=True)}  # fmt: skip
        self.path = path
        self.scores: dict[str, float] = {}
        if path.exists():
            self.scores = json.loads(path.read_text(encoding="utf-8"))

    def score(self, key: Key, name: str, apply: Callable[[Setup], None] | None = None) -> float:
        """Return the score with a setting; NaN if the training fails with it."""
        known = " ".join((*map(str, key), name))
        if known not in self.scores:
            started = time.process_time()
            try:
                self.scores[known] = self._train(key, name, apply or SETTINGS.get(name))
            except Exception as error:  # noqa: BLE001 - a setting that breaks the loop
                print(f"{known}: {type(error).__name__}: {error}", file=sys.stderr)
                self.scores[known] = math.nan
            self.path.write_text(json.dumps(self.scores, indent=1), encoding="utf-8")
            print(f"{known}: {self.scores[known]:.3f}, {time.process_time() - started:.1f} s",
                  file=sys.stderr, flush=True)  # fmt: skip
        return self.scores[known]

    def _train(self, key: Key, name: str, apply: Callable[[Setup], None] | None) -> float:
        _, case, kind, seed, change, _ = self.found[key]

        def changed(setup: Setup, number: int) -> None:
            setup.sound = setup.case
            change(setup, number)
            if apply is not None:
                apply(setup)

        if name in WIDTHS:
            case = widen(case, WIDTHS[name])
        observer = BestEpoch() if name == BEST_EPOCH else Observer()
        return train(case, kind, seed, changed, observer)


def is_remedied(value: float, before: float, sound: float) -> bool:
    """Return whether a score is within 2 points of the sound one, or above it where it was below.

    A fault such as a leak raises the score; there, a training that is ruined is no remedy.
    """
    close = abs(value - sound) <= MIN_CHANGE  # False where the score is not a number
    return close or (before < sound < value) or (math.isnan(before) and value > sound)


def mien_settings(row: dict[str, Any]) -> dict[str, Callable[[Setup], None]]:
    """Return the repair of each finding of mien, as its text and its numbers say."""
    found: dict[str, Callable[[Setup], None]] = {}
    for name, texts in row["advice"].items():
        repair = doctor_remedies.REPAIRS.get(name)
        names_rate = re.search(r"to about \d", texts[0]) is not None
        if repair is None or (repair in RATE_REPAIRS and not names_rate):
            continue
        numbers = row.get("numbers", {}).get(name, {})
        finding: Any = SimpleNamespace(remedy=texts[0], numbers=numbers)
        found[f"mien's {name}"] = bound(repair, finding)
    return found


def bound(repair: Callable[[Setup, Any], None], finding: Any) -> Callable[[Setup], None]:
    return lambda setup: repair(setup, finding)


def judge(doctor: str, row: dict[str, Any], sound: float, programs: Programs) -> dict[str, Any]:
    """Try the settings in turn until one makes the fault go."""
    own = mien_settings(row) if doctor == "mien" else {}
    names = [*own, *settings_of(sentences(doctor, row))]
    right = next((n for n in names if is_remedied(programs.score(key_of(row), n, own.get(n)),
                                                  row["score"], sound)), "")  # fmt: skip
    return {"doctor": doctor, "fault": row["fault"], "program": row["program"],
            "seed": row["seed"], "findings": row["findings"], "settings": names, "right": right,
            "before": row["score"], "sound": sound}  # fmt: skip


def collect(arguments: argparse.Namespace, seeds: list[int]) -> list[dict[str, Any]]:
    """Judge every doctor on one fault after the other, in an order that no result chose."""
    programs = Programs(seeds, arguments.out / "advice-scores.json")
    sound = load(arguments.out, "mien", "sound") or []
    scores = {(r["program"], r["optimizer"], r["seed"]): r["score"] for r in sound}
    found = {d: {key_of(r): r for r in load(arguments.out, d, "faults") or []} for d in DOCTORS}
    order = [key_of(r) for r in detectable(list(found["mien"].values()), sound)
             if r["seed"] in seeds and r["program"] not in arguments.skip.split(",")]  # fmt: skip
    torch.manual_seed(0)
    order = [order[i] for i in torch.randperm(len(order)).tolist()]
    results: list[dict[str, Any]] = []
    for key in order[: arguments.limit]:
        results += [judge(d, found[d][key], scores[key[1:]], programs)
                    for d in DOCTORS if key in found[d]]  # fmt: skip
        # After each fault: what is broken off has its rows.
        (arguments.out / "advice.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", type=Path, required=True, help="folder of bench/doctor_peers.py")
    parser.add_argument("--seeds", default="81")
    parser.add_argument("--skip", default="", help="programs to leave out")
    parser.add_argument("--limit", type=int, help="number of faults")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    results = collect(arguments, [int(s) for s in arguments.seeds.split(",")])
    print("| doctor | remedy right, of all faults | of those with a setting |\n| --- | --- | --- |")
    for doctor in DOCTORS:
        rows = [r for r in results if r["doctor"] == doctor]
        some = [bool(r["right"]) for r in rows if r["settings"]]
        print(f"| {doctor} | {proportion([bool(r['right']) for r in rows])} | "
              f"{proportion(some)} |")  # fmt: skip


if __name__ == "__main__":
    main()
