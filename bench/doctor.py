"""Faults planted in trainings, and what the doctor says of each; and of sound trainings.

    python bench/doctor.py [--data DIR] [--seeds 5] [--jobs 2] [--out FOLDER]

Each fault is planted in `--seeds` trainings, on drawn faces and, with --data, every other one on
real faces (those with a clear panel). The thresholds were chosen on seeds 0 and 1 and the first
half of the sound runs; the figures that count are of the others. Prints recall for each fault,
false alarms on sound runs, and what else was named: the confusion between faults.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from mien.data.drawn import draw_collection, split_drawn
from mien.data.manifest import Dataset, load_dataset
from mien.data.panel import panel_targets
from mien.data.prepare import write_collection
from mien.errors import TrainingError
from mien.labels import THREE
from mien.train.augment import augment
from mien.train.config import recipe_from_dict
from mien.train.diagnose import diagnose
from mien.train.doctor.evidence import Evidence, gather
from mien.train.doctor.replay import repeats
from mien.train.fit import fit
from mien.train.networks import registry
from mien.train.runfolder import create_run

Change = Callable[[Dataset, np.random.Generator], Dataset]

AUGMENT = {"flip": 0.5, "rotation": 10, "shift": 0.05, "scale": 0.1}
POSTER = {
    "network": {"name": "poster", "width": 12, "hidden": 64, "conv_batch_norm": True},
    "optimizer": {"name": "adam", "lr": 1e-3, "weight_decay": 0.0},
    "schedule": {"name": "constant"},
    "augment": AUGMENT,
    "fit": {"epochs": 10, "batch_size": 32, "threads": 1},
}
SMALL = {
    "network": {"name": "small", "widths": [8, 16, 32, 64], "blocks": [1, 1, 1]},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "cosine", "warmup_epochs": 1},
    "augment": AUGMENT,
    "fit": {"epochs": 10, "batch_size": 32, "threads": 1},
}
PLAIN = {"conv_batch_norm": False, "batch_norm": False, "dropout": 0.0}
NO_CHANGE = {"flip": 0.0, "rotation": 0.0, "shift": 0.0, "scale": 0.0}


@dataclass(frozen=True)
class Fault:
    """A fault: the names that would be right, and how it is planted."""

    names: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    change: Change | None = None
    base: str = "poster"
    trick: str = ""


def keep(n: int, split: str = "train") -> Change:
    def change(data: Dataset, rng: np.random.Generator) -> Dataset:
        rows = np.flatnonzero(data.splits_n == split)
        dropped = rng.permutation(rows)[n:]
        return data.subset(np.setdiff1d(np.arange(len(data)), dropped))

    return change


def mislabel(share: float, splits: tuple[str, ...] = ("train", "validation")) -> Change:
    def change(data: Dataset, rng: np.random.Generator) -> Dataset:
        labels = data.labels_n.copy()
        rows = np.flatnonzero(np.isin(data.splits_n, splits) & (rng.random(len(data)) < share))
        labels[rows] = (labels[rows] + rng.integers(1, 3, len(rows))) % 3
        return replace(data, labels_n=labels)

    return change


def shuffle_labels(data: Dataset, rng: np.random.Generator) -> Dataset:
    rows = np.flatnonzero(data.splits_n == "train")
    labels = data.labels_n.copy()
    labels[rows] = labels[rng.permutation(rows)]
    return replace(data, labels_n=labels)


def rare(data: Dataset, rng: np.random.Generator) -> Dataset:
    train = data.splits_n == "train"
    lost = train & (data.labels_n > 0) & (rng.random(len(data)) < 0.96)
    return data.subset(~lost)


def leak(data: Dataset, rng: np.random.Generator) -> Dataset:
    held = np.flatnonzero(data.splits_n == "validation")
    chosen = rng.permutation(held)[: len(held) // 4]
    rows = rng.permutation(np.flatnonzero(data.splits_n == "train"))[: len(chosen)]
    images = np.array(data.images_nhw)
    copies = images[chosen]
    copies[::2] = copies[::2, :, ::-1]
    images[rows] = np.clip(copies * 1.05 + 3, 0, 255).astype(np.uint8)
    labels = data.labels_n.copy()
    labels[rows] = labels[chosen]
    return replace(data, images_nhw=images, labels_n=labels)


def darken(data: Dataset, _: np.random.Generator) -> Dataset:
    return replace(data, images_nhw=(np.array(data.images_nhw) // 85).astype(np.uint8))


def grey_out(data: Dataset, rng: np.random.Generator) -> Dataset:
    images = np.array(data.images_nhw)
    images[rng.random(len(images)) < 0.6] = 128
    return replace(data, images_nhw=images)


def negative(data: Dataset, _: np.random.Generator) -> Dataset:
    images = np.array(data.images_nhw)
    held = data.splits_n == "validation"
    images[held] = 255 - images[held]
    return replace(data, images_nhw=images)


FAULTS: dict[str, Fault] = {
    "lr too large (Adam)": Fault(("step-too-large", "diverged"), {"optimizer.lr": 0.05}),
    "lr too large (SGD)": Fault(
        ("step-too-large", "diverged"), {"optimizer.lr": 3.0, "network.dropout": 0.0}, base="small"
    ),
    "lr too small (Adam)": Fault(("step-too-small",), {"optimizer.lr": 3e-6}),
    "lr too small (SGD)": Fault(("step-too-small",), {"optimizer.lr": 2e-5}, base="small"),
    "diverged": Fault(
        ("diverged",),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "optimizer.name": "sgd",
            "optimizer.lr": 30.0,
        },
    ),
    "overfitting": Fault(
        ("overfitting", "too-complex"),
        {
            **{f"augment.{k}": v for k, v in NO_CHANGE.items()},
            "network.dropout": 0.0,
            "fit.epochs": 60,
        },
        keep(250),
    ),
    "too complex": Fault(
        ("too-complex",),
        {
            **{f"augment.{k}": v for k, v in NO_CHANGE.items()},
            "network.dropout": 0.0,
            "network.width": 24,
            "network.hidden": 512,
            "fit.epochs": 15,
        },
        keep(300),
    ),
    "too small": Fault(
        ("too-small", "underfitting"),
        {
            "network.width": 1,
            "network.hidden": 3,
            "network.hidden_layers": 1,
            "network.depth": 4,
            "network.dropout": 0.0,
        },
    ),
    "underfitting": Fault(
        ("underfitting",),
        {"optimizer.weight_decay": 0.5, "optimizer.name": "sgd", "optimizer.lr": 0.05},
    ),
    "too few epochs": Fault(("underfitting", "step-too-small"), {"fit.epochs": 1}, keep(640)),
    "vanishing gradients": Fault(
        ("vanishing-gradients",),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "network.activation": "sigmoid",
            "network.hidden_layers": 6,
        },
    ),
    "exploding gradients": Fault(
        ("exploding-gradients", "diverged"),
        {
            **{f"network.{k}": v for k, v in PLAIN.items()},
            "network.activation": "relu",
            "network.hidden_layers": 6,
            "optimizer.name": "sgd",
            "optimizer.lr": 1e-4,
        },
        trick="large weights",
    ),
    "dead units": Fault(
        ("dead-units",),
        {**{f"network.{k}": v for k, v in PLAIN.items()}, "network.activation": "relu"},
        trick="negative biases",
    ),
    "label noise": Fault(("label-noise",), {}, mislabel(0.3)),
    "label noise in training": Fault(("label-noise",), {}, mislabel(0.3, ("train",))),
    "labels shuffled": Fault(("labels-shuffled",), {}, shuffle_labels),
    "imbalance": Fault(("class-imbalance",), {}, rare),
    "leak": Fault(("leak",), {}, leak),
    "wrong scale": Fault(("inputs",), {"network.normalise": "none"}, darken),
    "constant inputs": Fault(("inputs",), {}, grey_out),
    "validation differs": Fault(
        ("validation-differs",), {"network.normalise": "dataset"}, negative
    ),
    "validation too small": Fault(("validation-too-small",), {}, keep(40, "validation")),
    "not repeatable": Fault(("not-repeatable",), {"fit.epochs": 4}, trick="unseeded noise"),
}


def sound_settings(number: int) -> tuple[str, dict[str, Any]]:
    """Return a sound training, each of the 20 somewhat different."""
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

    @property
    def name(self) -> str:
        kind = "real" if self.real else "drawn"
        return f"{self.fault or 'sound'} / {kind} / {self.seed}"


def faces(real: str, seed: int) -> Dataset:
    """Return 1,500 training and 500 validation faces; of real ones those with a clear panel."""
    if real:
        data = load_dataset(Path(real))
        assert data.votes_nk is not None
        right = panel_targets(data.votes_nk, data.vote_names, THREE)
        rng = np.random.default_rng(seed)
        rows = [
            rng.permutation(np.flatnonzero((data.splits_n == split) & (right >= 0)))[:count]
            for split, count in (("train", 3000), ("validation", 1000))
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
    collection = draw_collection(2000, 100 + seed)
    copies, splits = split_drawn(collection, 0.25, seed)
    with tempfile.TemporaryDirectory() as folder:
        written = write_collection(collection, copies, splits, Path(folder) / "drawn")
        return replace(written, images_nhw=np.array(written.images_nhw))


def nested(base: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    values = {k: dict(v) if isinstance(v, dict) else v for k, v in base.items()}
    for key, value in settings.items():
        table, name = key.split(".")
        values.setdefault(table, {})[name] = value
    return values


def train_one(job: Job) -> tuple[Job, Evidence, float]:
    """Train with the fault planted and return what the doctor sees."""
    torch.set_num_threads(1)
    data = faces(job.real, job.seed)
    rng = np.random.default_rng(job.seed)
    if job.fault:
        fault = FAULTS[job.fault]
        base, settings, trick = fault.base, fault.settings, fault.trick
        if fault.change:
            data = fault.change(data, rng)
    else:
        (base, settings), trick = sound_settings(job.seed), ""
    values = nested({"poster": POSTER, "small": SMALL}[base], settings)
    values["name"] = "doctor"
    values["fit"]["seed"] = job.seed
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, TRICKS[trick]():
        run = create_run(Path(folder) / "run", recipe_from_dict(values), data, Path(folder))
        with contextlib.suppress(TrainingError):
            fit(run, data)
        evidence = replace(gather(run, data), repeats=repeats(run, data))
    return job, evidence, time.perf_counter() - started


@contextlib.contextmanager
def unseeded_noise() -> Any:
    from mien.train import fit as module

    real = augment

    def noisy(pixels: Any, config: Any, generator: Any) -> Any:
        return real(pixels, config, generator) + torch.from_numpy(
            np.random.default_rng().normal(size=pixels.shape).astype(np.float32)
        )

    with patch.object(module, "augment", noisy):
        yield


def initialised(change: Callable[[torch.nn.Module], None]) -> Callable[[], Any]:
    @contextlib.contextmanager
    def trick() -> Any:
        from mien.train import fit as module

        def build(*args: Any, **kwargs: Any) -> Any:
            model = registry.build_model(*args, **kwargs)
            with torch.no_grad():
                change(model)
            return model

        with patch.object(module, "build_model", build):
            yield

    return trick


def enlarge(model: torch.nn.Module) -> None:
    for p in model.parameters():
        if p.ndim > 1:
            p.mul_(4)


def kill_units(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.bias is not None:
            module.bias[: len(module.bias) * 7 // 10] = -30.0


TRICKS: dict[str, Callable[[], Any]] = {
    "": contextlib.nullcontext,
    "unseeded noise": unseeded_noise,
    "large weights": initialised(enlarge),
    "negative biases": initialised(kill_units),
}


def report(results: list[tuple[Job, Evidence, float]], counted: str) -> None:
    """Print recall, false alarms and the confusion between faults."""
    found: dict[str, list[list[str]]] = {}
    for job, evidence, _ in results:
        found.setdefault(job.fault, []).append([f.name for f in diagnose(evidence)])
    planted = [(fault, names) for fault, rows in found.items() if fault for names in rows]
    hits = [bool(set(names) & set(FAULTS[fault].names)) for fault, names in planted]
    print(f"\n{counted}: {len(planted)} trainings with a fault, {len(found.get('', []))} sound")
    for fault, rows in sorted(found.items()):
        if not fault:
            continue
        named = sum(bool(set(names) & set(FAULTS[fault].names)) for names in rows)
        others = Counter(n for names in rows for n in names if n not in FAULTS[fault].names)
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
    parser.add_argument("--sound", type=int, default=20)
    parser.add_argument("--counted", action="store_true", help="only the runs that count")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="faults whose name holds this")
    parser.add_argument("--out", type=Path, help="folder to keep the evidence in (pickles, ours)")
    arguments = parser.parse_args()
    jobs = [
        Job(fault, seed, arguments.data if (seed + i) % 2 else "", "")
        for i, fault in enumerate(FAULTS)
        for seed in range(arguments.seeds)
        if arguments.only in fault
    ]
    if not arguments.only:
        jobs += [
            Job("", n, arguments.data if n // 2 % 2 else "", "") for n in range(arguments.sound)
        ]
    half = arguments.sound // 2
    if arguments.counted:
        jobs = [job for job in jobs if job.seed >= (2 if job.fault else half)]
    jobs.sort(key=lambda job: job.seed)
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
    chosen_on = [r for r in results if r[0].seed < (2 if r[0].fault else half)]
    others = [r for r in results if r not in chosen_on]
    report(chosen_on, "Runs that the thresholds were chosen on")
    report(others, "Other runs: the figures that count")
    print(f"\n{(time.perf_counter() - started) / 60:.1f} minutes, {arguments.jobs} processes")


if __name__ == "__main__":
    main()
