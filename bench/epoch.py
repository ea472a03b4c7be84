"""Measures the overhead of a training epoch over its arithmetic, and a plain data loader.

    python bench/epoch.py --data DIR [--recipe recipes/small.toml] [--set A.B=C] [--rounds 5]
                          [--threads 1]

In one run, on the same images, in turns of one measured step of the doctor each:

    mien        an epoch of `mien train`
    unmeasured  the same without the doctor's measurements
    arithmetic  the same batches, already augmented, in a bare loop of forward, backward and step
    feeding     mien's batches with augmentation, without training
    plain       a PyTorch DataLoader with one worker that opens each image with Pillow and augments
                it as the recipe does, one by one, as most training scripts do, then the same bare
                loop
    plain feed  that DataLoader alone

Compare the printed ratios: mien / arithmetic is the overhead, mien / plain the gain. Ratios are
medians over the rounds, so that the machine's speed cancels. What runs in this process is compared
by CPU time, which other programs hardly change; what has a worker process, by wall time. --threads
are those of this process.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageStat
from torch.utils.data import DataLoader, Dataset

from mien.data.dataset import load_dataset
from mien.train.loop.augment import augment
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import Examples, batches, make_examples
from mien.train.loop.loss import soft_cross_entropy
from mien.train.loop.signals import STRIDE, Recorder
from mien.train.loop.state import TrainingState
from mien.train.loop.stepper import Stepper
from mien.train.recipe.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mien.train.recipe.settings import AugmentConfig

RANDOM = random.Random(0)  # noqa: S311
NEVER = 10**9
"""A stride so long that no step is measured."""


class ImageFiles(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """PNG files, opened and augmented one by one with Pillow, by a recipe's settings."""

    def __init__(self, examples: Examples, changes: AugmentConfig, folder: Path) -> None:
        self.examples, self.changes = examples, changes
        self.files = [folder / f"{number}.png" for number in range(len(examples))]
        for path, pixels in zip(self.files, examples.pixels[:, 0].numpy(), strict=True):
            Image.fromarray(pixels).save(path)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        with Image.open(self.files[i]) as image:
            changed = change(image, self.changes)
        pixels = torch.from_numpy(np.array(changed, np.float32))[None]
        return pixels, self.examples.targets_nk[i], self.examples.weights_n[i]


def change(image: Image.Image, changes: AugmentConfig) -> Image.Image:
    """Return an image augmented with Pillow, as `mien.train.loop.augment` does, without mixing.

    Written for speed: one resampling for all that moves, one table for all that is light.
    """
    side = image.width
    if RANDOM.random() < changes.flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if changes.rotation or changes.scale or changes.shift:
        angle = math.radians(RANDOM.uniform(-changes.rotation, changes.rotation))
        size = (1 + changes.scale) ** RANDOM.uniform(-1, 1)
        x, y = (side * (0.5 + RANDOM.uniform(-1, 1) * changes.shift) for _ in range(2))
        cos, sin, middle = math.cos(angle) * size, math.sin(angle) * size, side / 2
        moved = (cos, -sin, x - middle * (cos - sin), sin, cos, y - middle * (sin + cos))
        image = image.transform(
            image.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR
        )
    if RANDOM.random() < changes.blur:
        sigma = RANDOM.uniform(0.2, max(0.2, changes.blur_sigma))
        image = image.filter(ImageFilter.GaussianBlur(sigma))
    if RANDOM.random() < changes.low_res:
        small = max(4, round(side * RANDOM.uniform(changes.low_res_size, 1)))
        image = image.resize((small, small), Image.Resampling.BOX)
        image = image.resize((side, side), Image.Resampling.BILINEAR)
    if changes.gamma or changes.brightness or changes.contrast:
        image = image.point(light(image, changes))
    if changes.erase and RANDOM.random() < changes.erase:
        x, y = (RANDOM.uniform(0, side) for _ in range(2))
        w, h = (RANDOM.uniform(0.2, 1) * changes.erase_size * side / 2 for _ in range(2))
        left, top, right, bottom = (
            round(min(max(v, 0), side)) for v in (x - w, y - h, x + w, y + h)
        )
        image.paste(round(ImageStat.Stat(image).mean[0]), (left, top, right, bottom))
    return image


def light(image: Image.Image, changes: AugmentConfig) -> list[float]:
    """Return a table of 256 levels: gamma between the image's own, contrast, brightness."""
    statistics_ = ImageStat.Stat(image)
    (low, high), mean = statistics_.extrema[0], statistics_.mean[0]
    reach = max(1.0, high - low)
    power = (1 + changes.gamma) ** RANDOM.uniform(-1, 1)
    gain = (1 + changes.contrast) ** RANDOM.uniform(-1, 1)
    offset = RANDOM.uniform(-1, 1) * changes.brightness * 255 + mean - mean * gain
    levels = (np.arange(256) - low).clip(0) / reach
    table: list[float] = ((levels**power * reach + low) * gain + offset).clip(0, 255).tolist()
    return table


def learn(state: TrainingState, recipe: Recipe, batch: Any) -> None:
    """Run forward, backward and step: the minimum cost of a training step."""
    pixels, targets, weights = batch
    loss = soft_cross_entropy(state.model(pixels), targets, weights, recipe.loss)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()


def feed_mien(recipe: Recipe, examples: Examples, state: TrainingState) -> list[Any]:
    """Draw and augment an epoch's batches, as `Stepper` does."""
    drawn = batches(examples, recipe.fit.batch_size, state.order)
    return [(augment(p, recipe.augment, state.changes), t, w) for p, t, w in drawn]


def clocks() -> tuple[float, float]:
    """Return this process's CPU time and the wall time, in seconds."""
    return time.process_time(), time.perf_counter()


def ways(
    recipe: Recipe, examples: Examples, state: TrainingState, folder: Path
) -> dict[str, Callable[[], Any]]:
    """Return the measured functions by name; the plain loader reads its images from `folder`."""
    ready = feed_mien(recipe, examples, state)
    files = ImageFiles(examples, recipe.augment, folder)
    plain = DataLoader(files, recipe.fit.batch_size, shuffle=True, num_workers=1, drop_last=True)

    def loop(source: Iterable[Any]) -> None:
        state.model.train()
        for batch in source:
            learn(state, recipe, batch)

    def epoch(stride: int) -> None:
        Stepper(state, recipe, examples).train_epoch(Recorder(1, stride))

    return {
        "mien": lambda: epoch(STRIDE),
        "unmeasured": lambda: epoch(NEVER),
        "arithmetic": lambda: loop(ready),
        "feeding": lambda: feed_mien(recipe, examples, state),
        "plain": lambda: loop(plain),
        "plain feed": lambda: list(plain),
    }


def measure(
    turns: dict[str, Callable[[], Any]], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Return (CPU, wall) seconds of each turn in each round, after a warm-up round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for number in range(rounds + 1):
        # Another order each round: what one leaves behind (a worker that ends, warm caches) must
        # not always meet the same other.
        for name in np.random.default_rng(number).permutation(list(turns)).tolist():
            processor, clock = clocks()
            turns[name]()
            now = clocks()
            if number:
                times[name].append((now[0] - processor, now[1] - clock))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/small.toml"))
    parser.add_argument("--set", action="append", default=[], metavar="A.B=C")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of the loop itself")
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    dataset = load_dataset(arguments.data)
    side = int(dataset.images_nhw.shape[1])
    # A turn is as long as the doctor's stride, so that it holds exactly one measured step.
    everything = make_examples(dataset.split("train"), recipe)
    examples = everything.sample(STRIDE * recipe.fit.batch_size, seed=0)
    state = initial_state(recipe, examples, side, torch.device("cpu"))
    torch.set_num_threads(arguments.threads)
    with TemporaryDirectory() as folder:
        times = measure(ways(recipe, examples, state, Path(folder)), arguments.rounds)
    batches_are = f"{STRIDE} batches of {recipe.fit.batch_size}"
    print(f"{recipe.name}: {batches_are}, threads: {arguments.threads}")
    for name, values in times.items():
        processor, clock = (statistics.median(v[i] for v in values) for i in (0, 1))
        print(f"{name:>12}: median {processor:6.2f} s CPU, {clock:6.2f} s wall")

    def ratio(above: str, below: str, kind: int, limit: str) -> None:
        each = [a[kind] / b[kind] for a, b in zip(times[above], times[below], strict=True)]
        spread = f"{min(each):.3f} to {max(each):.3f}"
        by = "CPU" if kind == 0 else "wall"
        print(f"{above} / {below}, {by}: {statistics.median(each):.3f} ({spread}) {limit}")

    ratio("mien", "arithmetic", 0, "at most 1.15")
    ratio("mien", "unmeasured", 0, "at most 1.03")
    ratio("mien", "plain", 1, "at most 0.5; cannot be below the next line, whatever the loader")
    ratio("arithmetic", "plain", 1, "")
    ratio("feeding", "plain feed", 1, "at most 0.5")


if __name__ == "__main__":
    main()
