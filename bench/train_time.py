"""Measures the time that a recipe needs to reach a validation accuracy, beside another recipe.

    python bench/train_time.py --data DIR --out FOLDER [--recipe recipes/small.toml]
                               [--against recipes/first.toml] [--target 0.88] [--threads 1]

Both recipes train in turns, one epoch each, so that other load on the machine slows both. Each
stops when its validation accuracy (on consensus labels, if there are votes) reaches the target.
Compare the ratio of their CPU times, which other programs hardly change; wall times are printed
too. Times are sums over all epochs, validation and alignment pretraining included. A run that was
killed is resumed with the same --out. The first shipped recipe:
git show 1322655:recipes/small.toml > first.toml
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mien.data.dataset import load_dataset
from mien.train.loop.callbacks import Callback
from mien.train.loop.fit import fit
from mien.train.recipe.find import find_recipe
from mien.train.recipe.recipe import load_recipe
from mien.train.run.folder import create_run, open_run

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.train.networks.registry import NetworkCost
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder
    from mien.train.run.metrics import EpochMetrics


class EpochOver(KeyboardInterrupt):
    """Stops a training after one epoch as Ctrl-C does, so that it can be resumed."""


class OneEpoch(Callback):
    """Runs one epoch and records its CPU time."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.before = {"wall": 0.0, "cpu": 0.0}
        self._started = time.perf_counter(), time.process_time()

    def aligning(self, done: int, total: int) -> None:
        if done == total:
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            self.before["wall"] = wall_s - self._started[0]
            self.before["cpu"] = cpu_s - self._started[1]

    def on_train_start(
        self, run: RunFolder, recipe: Recipe, cost: NetworkCost, images: int, steps: int
    ) -> None:
        self._start = time.process_time()

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        pass

    def on_epoch_end(self, metrics: EpochMetrics, *, best: bool) -> None:
        self.cpu_s = time.process_time() - self._start
        raise EpochOver

    def on_train_end(self, status: str) -> None:
        pass


@dataclass
class Contestant:
    """A recipe being trained.

    Attributes:
        run: its folder.
        dataset: that it learns.
        target: validation accuracy to reach.
        cpu_s: CPU seconds of each finished epoch.
    """

    run: RunFolder
    dataset: Dataset
    target: float
    cpu_s: list[float] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)

    @property
    def notes(self) -> Path:
        return self.run.path / "before_s.json"

    @property
    def log(self) -> Path:
        return self.run.path / "cpu_s.json"

    @property
    def epochs(self) -> list[EpochMetrics]:
        return self.run.read_metrics()

    @property
    def reached(self) -> bool:
        return any(e.validation_accuracy >= self.target for e in self.epochs)

    @property
    def over(self) -> bool:
        return self.reached or len(self.epochs) >= self.run.recipe.fit.epochs

    def step(self) -> None:
        watch = OneEpoch()
        with suppress(EpochOver):
            fit(self.run, self.dataset, [watch], watch.aligning)
        if not self.cpu_s:
            self.before = watch.before
            self.notes.write_text(json.dumps(self.before))
        self.cpu_s.append(watch.cpu_s)
        self.log.write_text(json.dumps(self.cpu_s))

    def total(self, kind: str) -> float:
        """Return the total seconds, 'wall' or 'cpu'."""
        epochs = [e.seconds for e in self.epochs] if kind == "wall" else self.cpu_s
        return self.before.get(kind, 0.0) + sum(epochs)

    def report(self) -> str:
        epochs = self.epochs
        best = max((e.validation_accuracy for e in epochs), default=0.0)
        wall_s, cpu_s = self.total("wall"), self.total("cpu")
        # An epoch that was finished just before a kill may lack its CPU time.
        missing = len(epochs) - len(self.cpu_s)
        what = "reached" if self.reached else f"NOT reached (best {best:.4f})"
        n = epochs[-1].validation_n if epochs else 0
        return (
            f"{self.run.path.name}: {self.target} {what} after {len(epochs)} of "
            f"{self.run.recipe.fit.epochs} epochs: {wall_s / 60:.1f} minutes wall time, "
            f"{cpu_s / 60:.1f} CPU (n = {n:,})"
            + (f"; {missing} epochs' CPU time was lost" if missing > 0 else "")
        )


def contestant(
    name: str, recipe: Path, arguments: argparse.Namespace, dataset: Dataset
) -> Contestant:
    path = arguments.out / name
    if (path / "config.json").exists():
        run = open_run(path)
    else:
        settings = [f"fit.threads={arguments.threads}", f"fit.seed={arguments.seed}"]
        resolved = load_recipe(find_recipe(recipe), settings)
        run = create_run(path, resolved, dataset, arguments.data)
    one = Contestant(run, dataset, arguments.target)
    if one.log.exists():
        one.cpu_s = json.loads(one.log.read_text())
    if one.notes.exists():
        one.before = json.loads(one.notes.read_text())
    return one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/small.toml"))
    parser.add_argument("--against", type=Path)
    parser.add_argument("--target", type=float, default=0.88)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = load_dataset(arguments.data)
    recipes = {"recipe": arguments.recipe, "against": arguments.against}
    racing = [
        contestant(f"{name}-{path.stem}", path, arguments, dataset)
        for name, path in recipes.items()
        if path is not None
    ]
    print(f"torch {torch.__version__}, {arguments.threads} thread(s), data {dataset.fingerprint}")
    while any(not one.over for one in racing):
        for one in racing:
            if not one.over:
                one.step()
                last = one.epochs[-1]
                print(
                    f"{one.run.path.name} epoch {last.epoch}: validation "
                    f"{last.validation_accuracy:.4f}, {last.seconds:.0f} s wall, "
                    f"{one.cpu_s[-1]:.0f} s CPU",
                    flush=True,
                )
    for one in racing:
        print(one.report())
    if len(racing) == 2 and all(one.reached for one in racing):
        by = {k: racing[1].total(k) / racing[0].total(k) for k in ("cpu", "wall")}
        print(f"{by['cpu']:.2f} times as fast by CPU time, {by['wall']:.2f} by wall time")


if __name__ == "__main__":
    main()
