"""What an epoch of training costs beside its arithmetic, and beside a plain loader.

    python bench/epoch.py --data DIR [--recipe recipes/small.toml] [--set a.b=c] [--batches 60]

In one run, on the same images: mien's own epoch; the same without the doctor's measurements; the
same batches, already augmented, in a bare loop of forward, backward and step; and a PyTorch
DataLoader with one worker that opens each picture with Pillow and flips, rotates and blurs it, as
most training scripts do. They take turns, and the medians of their times are compared as ratios:
the machine's speed cancels out. Where the arithmetic alone takes longer than half of the plain
loop, no loader can halve it: the last line says what is left beside the arithmetic.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader, Dataset

from mien.data.manifest import load_dataset
from mien.train.augment import augment
from mien.train.config import Recipe, load_recipe
from mien.train.fit import start_state, train_epoch
from mien.train.loader import Examples, batches, make_examples
from mien.train.loss import soft_cross_entropy
from mien.train.signals import STRIDE, Recorder
from mien.train.state import TrainingState


class PictureFiles(Dataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Encoded pictures, decoded and augmented one by one with Pillow."""

    def __init__(self, examples: Examples) -> None:
        self.examples = examples
        self.files = []
        for pixels in examples.pixels[:, 0].numpy():
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            self.files.append(buffer.getvalue())

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        picture = Image.open(io.BytesIO(self.files[i]))
        rng = np.random.default_rng()
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)  # type: ignore[assignment]
        turned = picture.rotate(rng.uniform(-18, 18), Image.Resampling.BILINEAR)
        blurred = turned.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
        pixels = torch.from_numpy(np.array(blurred, np.float32))[None]
        return pixels, self.examples.targets_nk[i], self.examples.weights_n[i]


def learn(state: TrainingState, recipe: Recipe, batch: Any) -> None:
    """Forward, backward, step: the arithmetic that cannot be saved."""
    pixels, targets, weights = batch
    loss = soft_cross_entropy(state.model(pixels), targets, weights, recipe.loss)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/small.toml"))
    parser.add_argument("--set", action="append", default=[], help="a.b=c")
    parser.add_argument("--batches", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    recipe = load_recipe(arguments.recipe, arguments.set)
    dataset = load_dataset(arguments.data)
    examples = make_examples(dataset.split("train"), recipe)
    size = recipe.fit.batch_size
    examples = examples.first(arguments.batches * size, seed=0)
    side = int(dataset.images_nhw.shape[1])
    state = start_state(recipe, examples, side, torch.device("cpu"))
    ready = [
        (augment(p, recipe.augment, state.changes), t, w)
        for p, t, w in batches(examples, size, state.order)
    ]
    plain = DataLoader(PictureFiles(examples), size, shuffle=True, num_workers=1, drop_last=True)
    names = ("mien", "unmeasured", "arithmetic", "plain")
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(arguments.rounds + 1):
        # Another order each round: what one leaves behind (a worker that ends, warm caches) must
        # not always meet the same other.
        for name in np.random.default_rng(number).permutation(names).tolist():
            started = time.perf_counter()
            if name in ("mien", "unmeasured"):
                stride = STRIDE if name == "mien" else 1 << 30
                train_epoch(state, recipe, examples, (), Recorder(1, stride))
            else:
                state.model.train()
                for batch in ready if name == "arithmetic" else plain:
                    learn(state, recipe, batch)
            if number:  # the first round warms up
                times[name].append(time.perf_counter() - started)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"{recipe.name}: {len(ready)} batches of {size}, {torch.get_num_threads()} threads")
    for name, values in times.items():
        shown = ", ".join(f"{v:.2f}" for v in values)
        print(f"{name:>10}: median {median[name]:.2f} s ({shown})")
    ratio = [m / a for m, a in zip(times["mien"], times["arithmetic"], strict=True)]
    other = [m / p for m, p in zip(times["mien"], times["plain"], strict=True)]
    cost = [m / u - 1 for m, u in zip(times["mien"], times["unmeasured"], strict=True)]
    print(f"the doctor's measurements: {statistics.median(cost):+.1%} (at most 3%)")
    print(f"mien / arithmetic: {statistics.median(ratio):.3f} (at most 1.15)")
    print(f"mien / plain loader: {statistics.median(other):.3f} (at most 0.5)")
    beside = {name: median[name] - median["arithmetic"] for name in ("mien", "plain")}
    print(
        f"beside the arithmetic: mien {beside['mien']:.2f} s, plain loader {beside['plain']:.2f} s"
    )


if __name__ == "__main__":
    main()
