"""Measures the training doctor: recall of planted faults, and false alarms on sound trainings.

    python bench/doctor.py [--data DIR] [--seeds 5] [--jobs 2] [--out FOLDER]
    python bench/doctor.py --further [--data DIR]    faults for which no rule was written
    python bench/doctor.py --counted --first-seed 51 --seeds 1    seeds that nobody has seen

Each fault is planted in `--seeds` trainings on drawn faces and, with --data, every second one on
real faces (those with a consensus label). Thresholds were chosen on seeds 0 and 1 and the first
half of the sound runs; only the others count. (Sound runs 10 to 19 counted until one of them moved
a threshold; since then 20 and later count.) Compare recall per fault, false alarms on sound runs,
and the confusion between faults with docs/log.md.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import multiprocessing
import pickle
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from doctor_faults import ALL, BASES, FAULTS, FURTHER, TRICKS
from mien.data.dataset import Dataset, load_dataset
from mien.data.drawn import draw_faces, split_drawn
from mien.data.ground_truth import consensus_targets
from mien.doctor.diagnose import diagnose
from mien.doctor.evidence import Evidence, gather
from mien.doctor.replay import is_reproducible
from mien.errors import TrainingError
from mien.labels import THREE
from mien.train.loop.fit import fit
from mien.train.recipe.recipe import recipe_from_dict
from mien.train.run.folder import create_run

FURTHER_SEED = 7
"""No other training has it."""
FRESH = 20
"""First of the sound trainings that count."""


def sound_settings(number: int) -> tuple[str, dict[str, Any]]:
    """Return the settings of a sound training; each of the 20 differs."""
    if number % 2:
        return "small", {
            "optimizer.lr": (0.03, 0.05, 0.08)[number // 2 % 3],
            "fit.epochs": (8, 12)[number // 2 % 2],
        }
    return "poster", {
        "optimizer.lr": (5e-4, 1e-3, 2e-3)[number // 2 % 3],
        "network.dropout": (0.2, 0.5)[number // 2 % 2],
        "network.activation": ("leaky_relu", "relu", "silu")[number // 2 % 3],
    }


@dataclass(frozen=True)
class Job:
    """One training: a fault (or '') on one kind of faces with one seed."""

    fault: str
    seed: int
    real: str
    out: str
    size: int = 0

    @property
    def name(self) -> str:
        kind = "real" if self.real else "drawn"
        return f"{self.fault or 'sound'} / {kind} / {self.seed}"


def counts(job: Job) -> bool:
    """Return whether the training is held out: no threshold was chosen on it."""
    return job.seed >= (2 if job.fault else FRESH)


@functools.cache
def faces(real: str, seed: int, size: int = 0) -> Dataset:
    """Return training images and a third as many for validation; drawn ones: 1,500 and 500.

    Args:
        real: folder of a dataset with votes; '' draws faces.
        seed: of the sample, or of the drawn faces.
        size: real training images; 0 = 3,000.
    """
    size = size or 3000
    if real:
        data = load_dataset(Path(real))
        assert data.votes_nk is not None
        right = consensus_targets(data.votes_nk, data.vote_names, THREE)
        rng = np.random.default_rng(seed)
        rows = [
            rng.permutation(np.flatnonzero((data.splits_n == split) & (right >= 0)))[:count]
            for split, count in (("train", size), ("validation", size // 3))
        ]
        chosen = np.concatenate(rows)
        part = data.subset(chosen)
        return replace(
            part,
            images_nhw=np.array(part.images_nhw),
            label_names=THREE,
            labels_n=right[chosen],
            votes_nk=None,
            vote_names=(),
        )
    return split_drawn(draw_faces(2000, 100 + seed), 0.25, seed)


def nested(base: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in base.items()}
    for key, value in settings.items():
        table, name = key.split(".")
        values.setdefault(table, {})[name] = value
    return values


def planted(job: Job) -> tuple[Dataset, dict[str, Any], str]:
    """Return the job's data, its recipe as a mapping, and the name of its trick."""
    data = faces(job.real, job.seed, job.size)
    rng = np.random.default_rng(job.seed)
    if job.fault:
        fault = ALL[job.fault]
        base, settings, trick = fault.base, fault.settings, fault.trick
        if fault.change:
            data = fault.change(data, rng)
    else:
        (base, settings), trick = sound_settings(job.seed), ""
    values = nested(BASES[base], settings)
    values["name"] = "doctor"
    values["fit"]["seed"] = job.seed
    return data, values, trick


def train_one(job: Job) -> tuple[Job, Evidence, float]:
    """Train with the fault planted; return the doctor's findings."""
    torch.set_num_threads(1)
    data, values, trick = planted(job)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, TRICKS[trick]():
        run = create_run(Path(folder) / "run", recipe_from_dict(values), data, Path(folder))
        with contextlib.suppress(TrainingError):
            fit(run, data)
        evidence = replace(gather(run, data), is_reproducible=is_reproducible(run, data))
    return job, evidence, time.perf_counter() - started


def report(results: list[tuple[Job, Evidence, float]], counted: str) -> None:
    """Print recall, false alarms and the confusion between faults."""
    found: dict[str, list[list[str]]] = {}
    for job, evidence, _ in results:
        found.setdefault(job.fault, []).append([f.name for f in diagnose(evidence)])
    planted = [(fault, names) for fault, rows in found.items() if fault for names in rows]
    hits = [bool(set(names) & set(ALL[fault].names)) for fault, names in planted]
    print(f"\n{counted}: {len(planted)} trainings with a fault, {len(found.get('', []))} sound")
    for fault, rows in sorted(found.items()):
        if not fault:
            continue
        named = sum(bool(set(names) & set(ALL[fault].names)) for names in rows)
        others = Counter(n for names in rows for n in names if n not in ALL[fault].names)
        also = ", ".join(f"{n} {c}" for n, c in others.most_common(5))
        print(f"  {fault:26s} named {named}/{len(rows)}   also: {also or 'nothing'}")
    if hits:
        print(f"  recall {sum(hits)}/{len(hits)} = {np.mean(hits):.3f} (at least 0.95)")
    sound = found.get("", [])
    alarms = [names for names in sound if names]
    if sound:
        what = Counter(n for names in alarms for n in names)
        print(
            f"  false alarms {len(alarms)}/{len(sound)} = {len(alarms) / len(sound):.3f} "
            f"(at most 0.05) {dict(what) or ''}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="", help="a dataset folder with votes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--first-seed", type=int, default=0, help="of the faults; from 20 on also of the sound"
    )
    parser.add_argument("--sound", type=int, default=20)
    parser.add_argument("--counted", action="store_true", help="only the runs that count")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", help="faults whose name holds this; 'sound' for sound trainings")
    parser.add_argument("--out", type=Path, help="folder to keep the evidence in (pickles, ours)")
    parser.add_argument(
        "--further", action="store_true", help="faults that the rules were not made for, once each"
    )
    arguments = parser.parse_args()
    jobs = [
        Job(fault, seed, arguments.data if (seed + i) % 2 else "", "")
        for i, fault in enumerate(FURTHER if arguments.further else FAULTS)
        for seed in (
            [FURTHER_SEED]
            if arguments.further
            else range(arguments.first_seed, arguments.first_seed + arguments.seeds)
        )
        if (arguments.only or "") in fault
    ]
    if arguments.only in (None, "sound") and not arguments.further:
        half = arguments.sound // 2
        fresh = max(FRESH, arguments.first_seed)
        numbers = [*range(half), *range(fresh, fresh + arguments.sound - half)]
        jobs += [Job("", n, arguments.data if n // 2 % 2 else "", "") for n in numbers]
    if arguments.counted:
        jobs = [job for job in jobs if counts(job)]
    # Sound trainings in between, so that a run that is broken off tells something of all.
    jobs.sort(key=lambda job: job.seed if job.fault else job.seed % FRESH * arguments.seeds / FRESH)
    started, results = time.perf_counter(), []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=context) as pool:
        for job, evidence, seconds in pool.map(train_one, jobs):
            results.append((job, evidence, seconds))
            names = ", ".join(f.name for f in diagnose(evidence)) or "nothing found"
            print(f"{job.name:45s} {seconds:5.1f} s  {names}", flush=True)
            if arguments.out:
                arguments.out.mkdir(parents=True, exist_ok=True)
                file = arguments.out / (job.name.replace("/", "-").replace(" ", "_") + ".pickle")
                file.write_bytes(pickle.dumps((job, evidence, seconds)))
    seen = [r for r in results if not counts(r[0])]
    report(seen, "Runs that the thresholds were chosen on")
    report([r for r in results if counts(r[0])], "Other runs: the figures that count")
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes, {arguments.jobs} processes")


if __name__ == "__main__":
    main()
