"""Trains the programs again with what each doctor suggests: does the fault go?

    python bench/doctor_advice.py --out DIR [--seeds 81] [--skip digits-cnn] [--limit N]

DIR is the folder that bench/doctor_peers.py wrote: findings and suggestions of each doctor. For
each detectable fault, each setting that a suggestion stands for (bench/doctor_settings.py; for mien
also REPAIRS of bench/doctor_repairs.py) is applied by itself and the program is trained again, with
three initialisations. The remedy is right if, with one of them, the mean score is within 2 points
of the sound program's with the same initialisations, or above it where the fault had lowered it: a
single training misses by as much by chance. All suggestions of all findings count, whether or not
the fault was named; a finding whose suggestions stand for no setting has no remedy.

For mien there is a second round where no setting was right: the best one stays, the training is
watched again, and the settings of that report are applied beside it. Both rounds are given with and
without the repairs that need the labels as they were at first (FROM_SOURCE), and what a single
training each would have counted, as measured until seed 83. Scores are kept in
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
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import doctor_repairs
from doctor_cases import Observer, Setup, train
from doctor_data_settings import BestEpoch
from doctor_operators import trainings
from doctor_peers import MIN_CHANGE, PUBLISHED, VERSIONS, detectable, load, proportion
from doctor_programs import Watched
from doctor_settings import BEST_EPOCH, SETTINGS, WIDTHS, settings_of, widen

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

RATE_REPAIRS = (doctor_repairs.set_rate, doctor_repairs.set_rate_and_clip,
                doctor_repairs.set_or_exchange)  # fmt: skip
"""They need the rate that the remedy names."""
NEEDED = {"class-imbalance": "merged_into", "label-noise": "contradictory"}
"""Numbers without which a finding has another remedy."""
FROM_SOURCE = tuple(f"mien's {name}" for name, repair in doctor_repairs.REPAIRS.items()
                    if repair in doctor_repairs.FROM_SOURCE)  # fmt: skip
"""Settings for which a user needs the labels as they were at first."""
RUNS = 3
NEXT = 1000
"""Initialisations of each training, and the distance of their seeds."""
SHORTENED = {"batch-of-one": 600}
"""Fault → training examples that it keeps, to save time."""

DOCTORS = ("mien", *VERSIONS, *PUBLISHED)
Key = tuple[str, str, str, int]
Apply = Callable[[Setup], None]
Chain = tuple[tuple[str, Apply | None], ...]
"""Settings by name; those without a function are in SETTINGS."""


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
        self.scores: dict[str, list[float]] = {}
        if path.exists():
            self.scores = json.loads(path.read_text(encoding="utf-8"))

    def score(self, key: Key, chain: Chain) -> list[float]:
        """Return the scores of RUNS initialisations with these settings, one after the other.

        NaN where the training fails with them. An empty chain is the training with the fault.
        """
        known = " ".join((*map(str, key), " > ".join(name for name, _ in chain)))
        if known not in self.scores:
            started = time.process_time()
            values = []
            for run in range(RUNS):
                try:
                    values.append(self.train(key, chain, run))
                except Exception as error:  # noqa: BLE001 - a setting that breaks the loop
                    print(f"{known}: {type(error).__name__}: {error}", file=sys.stderr)
                    values.append(math.nan)
            self._keep(known, values, started)
        return self.scores[known]

    def sound(self, key: Key) -> list[float]:
        """Return the scores of the program without the fault, with the same initialisations."""
        fault, name, kind, seed = key
        # A fault that only trains on a part of the data, to save time, is compared with that part.
        n = SHORTENED.get(fault)
        known = " ".join(("sound", name, kind, str(seed), "" if n is None else str(n)))
        if known not in self.scores:
            started, case = time.process_time(), self.found[key][1]
            case = replace(case, x=case.x[:n], y=case.y[:n])
            values = [train(case, kind, seed + NEXT * run, None, Observer()) for run in range(RUNS)]
            self._keep(known, values, started)
        return self.scores[known]

    def _keep(self, known: str, values: list[float], started: float) -> None:
        self.scores[known] = values
        self.path.write_text(json.dumps(self.scores, indent=1), encoding="utf-8")
        text = ", ".join(f"{v:.3f}" for v in values)
        print(
            f"{known}: {text}, {time.process_time() - started:.1f} s", file=sys.stderr, flush=True
        )

    def train(self, key: Key, chain: Chain, run: int, observer: Observer | None = None) -> float:
        """Train with the fault and then these settings; return the score."""
        _, case, kind, seed, change, _ = self.found[key]

        def changed(setup: Setup, number: int) -> None:
            setup.sound = setup.case
            change(setup, seed)
            for name, apply in chain:
                found = apply or SETTINGS.get(name)
                if found is not None:
                    found(setup)

        names = [name for name, _ in chain]
        for name in names:
            if name in WIDTHS:
                case = widen(case, WIDTHS[name])
        seen = observer or (BestEpoch() if BEST_EPOCH in names else Observer())
        return train(case, kind, seed + NEXT * run, changed, seen)


def is_remedied(value: float, before: float, sound: float) -> bool:
    """Return whether a score is within 2 points of the sound one, or above it where it was below.

    A fault such as a leak raises the score; there, a training that is ruined is no remedy.
    """
    close = abs(value - sound) <= MIN_CHANGE  # False where the score is not a number
    return close or (before < sound < value) or (math.isnan(before) and value > sound)


def mien_settings(row: dict[str, Any]) -> dict[str, Apply]:
    """Return the repair of each finding of mien, as its text and its numbers say."""
    found: dict[str, Apply] = {}
    for name, texts in row["advice"].items():
        repair = doctor_repairs.REPAIRS.get(name)
        numbers = row.get("numbers", {}).get(name, {})
        names_rate = re.search(r"to about \d", texts[0]) is not None
        if repair is None or (repair in RATE_REPAIRS and not names_rate):
            continue
        if name in NEEDED and not numbers.get(NEEDED[name]):
            continue
        finding: Any = SimpleNamespace(remedy=texts[0], numbers=numbers)
        found[f"mien's {name}"] = bound(repair, finding)
    return found


def bound(repair: Callable[[Setup, Any], None], finding: Any) -> Apply:
    return lambda setup: repair(setup, finding)


def judge(doctor: str, row: dict[str, Any], programs: Programs) -> dict[str, Any]:
    """Try the settings of a report in turn; for mien, also those of a second report."""
    key = key_of(row)
    sound, before = programs.sound(key), programs.score(key, ())
    result = {"doctor": doctor, "fault": row["fault"], "program": row["program"],
              "optimizer": row["optimizer"], "seed": row["seed"], "findings": row["findings"],
              "before": mean(before), "sound": mean(sound)}  # fmt: skip
    first = try_all(doctor, row, (), programs)
    result |= {"settings": first.names, "right": first.right, "right_once": first.once,
               "from_source": first.right in FROM_SOURCE}  # fmt: skip
    if doctor != "mien" or first.right or not first.tried:
        return {**result, "right_twice": first.right}
    chain = best_of(first, mean(before), mean(sound))
    if not chain:
        return {**result, "right_twice": ""}
    again = watch_again(row, chain, programs)
    second = try_all(doctor, again, chain, programs)
    twice = f"{chain[0][0]} > {second.right}" if second.right else ""
    return {**result, "kept": chain[0][0], "findings_2": again["findings"],
            "settings_2": second.names, "right_twice": twice}  # fmt: skip


def best_of(tried: Tried, before: float, sound: float) -> Chain:
    """Return the setting that a user would keep: the one with the best validation score.

    The first one where the fault raised the score, as a leak does; none where none is better than
    the training with the fault.
    """
    known = {chain: mean(values) for chain, values in tried.tried.items()}
    scored = {chain: value for chain, value in known.items() if not math.isnan(value)}
    if before > sound:
        return next(iter(tried.tried))
    best = max(scored, key=lambda chain: scored[chain], default=())
    # `not <=` keeps a training that failed with the fault.
    return best if best and not scored[best] <= before else ()


@dataclass
class Tried:
    """The settings of one report: their scores, and those that made the fault go."""

    names: list[str]
    tried: dict[Chain, list[float]]
    right: str = ""
    once: str = ""


def try_all(doctor: str, row: dict[str, Any], before: Chain, programs: Programs) -> Tried:
    """Apply each setting of a report by itself, after those of an earlier report.

    `right` is the first with which the mean over RUNS initialisations is remedied, `once` the first
    with which a single training is, as in earlier measurements.
    """
    own = mien_settings(row) if doctor == "mien" else {}
    found = Tried([*own, *settings_of(sentences(doctor, row))], {})
    key = key_of(row)
    sound, fault = programs.sound(key), programs.score(key, ())
    for name in found.names:
        chain = (*before, (name, own.get(name)))
        values = programs.score(key, chain)
        found.tried[chain] = values
        if not found.right and is_remedied(mean(values), mean(fault), mean(sound)):
            found.right = name
        if not found.once and is_remedied(values[0], fault[0], sound[0]):
            found.once = name
        if found.right and found.once:
            break
    return found


def watch_again(row: dict[str, Any], chain: Chain, programs: Programs) -> dict[str, Any]:
    """Return mien's report on the training with the first settings, as a row."""
    observer = Watched()
    try:
        programs.train(key_of(row), chain, 0, observer)
    except Exception as error:  # noqa: BLE001 - its report counts all the same
        print(f"{key_of(row)}: {type(error).__name__}: {error}", file=sys.stderr)
    findings = observer.report.findings
    return {**row, "findings": [f.name for f in findings],
            "advice": {f.name: [f.remedy] for f in findings},
            "numbers": {f.name: dict(f.numbers) for f in findings}}  # fmt: skip


def mean(values: list[float]) -> float:
    """Return the mean; NaN if a training failed."""
    return sum(values) / len(values)


def collect(arguments: argparse.Namespace, seeds: list[int]) -> list[dict[str, Any]]:
    """Judge every doctor on one fault after the other, in an order that no result chose."""
    programs = Programs(seeds, arguments.out / "advice-scores.json")
    sound = load(arguments.out, "mien", "sound") or []
    found = {d: {key_of(r): r for r in load(arguments.out, d, "faults") or []} for d in DOCTORS}
    order = [key_of(r) for r in detectable(list(found["mien"].values()), sound)
             if r["seed"] in seeds and r["program"] not in arguments.skip.split(",")]  # fmt: skip
    torch.manual_seed(0)
    order = [order[i] for i in torch.randperm(len(order)).tolist()]
    results: list[dict[str, Any]] = []
    for key in order[: arguments.limit]:
        results += [judge(d, found[d][key], programs) for d in DOCTORS if key in found[d]]
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
    print("| doctor | remedy right | of faults with a setting | within two reports | without the "
          "source's labels | within two | one training each |\n|" + " --- |" * 7)  # fmt: skip
    for doctor in DOCTORS:
        rows = [r for r in results if r["doctor"] == doctor]
        cells = [
            proportion([bool(r["right"]) for r in rows]),
            proportion([bool(r["right"]) for r in rows if r["settings"]]),
            proportion([bool(r["right_twice"]) for r in rows]),
            proportion([bool(r["right"]) and not r["from_source"] for r in rows]),
            proportion([bool(r["right_twice"]) and not r["from_source"] for r in rows]),
            proportion([bool(r["right_once"]) for r in rows]),
        ]
        print(f"| {doctor} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
