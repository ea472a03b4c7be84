"""The learning-rate range test: which rate is neither too large nor too small.

A fresh network learns with a rate that grows from step to step (Smith 2017, arXiv:1506.01186).
Where the loss falls fastest is hard to read off a noisy curve; what a step gains of what its
gradient promised is not (see signals.py). It is 1 for tiny steps and falls smoothly as they grow,
so the suggestion is the rate at which it has fallen to GAIN, and at most a quarter of the rate
with the least loss. The same recipe, data and seed give the same suggestion.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mien.errors import RunFolderError, TrainingError
from mien.files import read_json, write_bytes, write_json
from mien.report.figure import png_bytes
from mien.report.palette import BLUE, GREY, INK, ORANGE
from mien.train.loop.fit import choose_device, start_state, train_step
from mien.train.loop.loader import batches, make_examples
from mien.train.loop.signals import Recorder
from mien.train.recipe.adapt import adapted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from mien.data.dataset import Dataset
    from mien.train.loop.loader import Examples
    from mien.train.loop.state import TrainingState
    from mien.train.recipe.recipe import Recipe

JSON, IMAGE = "lr-range-test.json", "lr-range-test.png"
LOWEST, HIGHEST = 1e-6, 30.0
STEPS = 160
SMOOTHING = 0.9
"""Share of the past in the running mean of the losses."""
SETTLED = 10
"""Losses before the running mean is of that many."""
GAIN = 0.85
"""Gain ratio at the suggested rate: steps still do what the gradient says, and are not tiny."""
WINDOW = 9
"""Steps over which the gain ratio is taken."""
BLOWN_UP = 3.0
"""Running loss over the first at which the test ends."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """A learning-rate range test.

    Attributes:
        rates: of the steps, growing.
        losses: running mean of the loss at each step.
        gains: gain ratio around each step; None where no gain was promised.
        least: rate at which it was least.
        suggestion: to train with.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    gains: tuple[float | None, ...]
    least: float
    suggestion: float

    def to_dict(self) -> dict[str, Any]:
        """Return the test as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RangeTest:
        """Return the test that `to_dict` gave."""
        curves = {key: tuple(values[key]) for key in ("rates", "losses", "gains")}
        return cls(**{**values, **curves})


def find_lr(
    recipe: Recipe,
    dataset: Dataset,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RangeTest:
    """Test learning rates from LOWEST to HIGHEST on a fresh network; nothing is kept of it.

    Args:
        recipe: whose optimizer.lr may be "auto".
        dataset: a dataset with a train split.
        progress: called with (done, total).

    Raises:
        DataError: the data cannot be trained on with this recipe.
        TrainingError: the loss is not a number from the first steps on.
    """
    recipe = adapted(recipe, dataset)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=LOWEST))
    threads = torch.get_num_threads()
    learnt = make_examples(dataset.split("train"), recipe)
    device = choose_device(recipe.fit.device)
    rates = np.geomspace(LOWEST, HIGHEST, STEPS)
    losses: list[float] = []
    changes: list[tuple[float, float]] = []
    try:
        with torch.random.fork_rng(devices=[]):
            size = int(dataset.images_nhw.shape[1])
            state = start_state(recipe, learnt, size, device)
            state.average = None
            drawn = _endless(learnt.to(device), recipe.fit.batch_size, state.order)
            for step, rate in enumerate(rates):
                loss, change = _step(state, recipe, next(drawn), float(rate))
                losses.append(loss)
                changes.append(change)
                progress(step + 1, STEPS)
                if blown_up(losses):
                    break
    finally:
        torch.set_num_threads(threads)
    return suggest(rates[: len(losses)], losses, changes)


def with_found_rate(
    recipe: Recipe, dataset: Dataset, progress: Callable[[int, int], None] = lambda d, t: None
) -> tuple[Recipe, RangeTest | None]:
    """Return the recipe with a number for its learning rate, and the test if one was needed."""
    if recipe.optimizer.lr != "auto":
        return recipe, None
    test = find_lr(recipe, dataset, progress)
    return replace(recipe, optimizer=replace(recipe.optimizer, lr=test.suggestion)), test


def blown_up(losses: list[float]) -> bool:
    """Whether the losses have ended the test: no number, or far above where they began."""
    if not math.isfinite(losses[-1]):
        return True
    smooth = smoothed(losses)
    return len(smooth) > 20 and smooth[-1] > BLOWN_UP * smooth[:10].mean()


def suggest(
    rates: NDArray[np.float64], losses: list[float], changes: list[tuple[float, float]]
) -> RangeTest:
    """Return the test's outcome.

    Args:
        rates: of the steps, growing, float64 [n].
        losses: of the steps' batches, before the step.
        changes: (change of the batch's loss by the step, change that the gradient promised).

    Raises:
        TrainingError: fewer than ten losses are numbers.
    """
    finite = [v for v in losses if math.isfinite(v)]
    if len(finite) < 10:
        raise TrainingError(
            f"the loss is not a number after {len(finite)} steps at a learning rate of "
            f"{rates[0]:g}",
            hint="check the inputs' scale with mien data show, or normalise: "
            "--set network.normalise=image",
        )
    smooth, used = smoothed(finite), rates[: len(finite)]
    # The running mean of the first few is those batches' chance, which is lower than any other
    # where hardly anything is learnt.
    settled = min(SETTLED, len(smooth) - 1)
    least = float(used[settled + int(smooth[settled:].argmin())])
    gains = running_gain(changes[: len(finite)])
    crossed = [r for r, g in zip(used, gains, strict=True) if g is not None and g < GAIN]
    # A single low window among tiny steps is the batches' chance: half of those above are low.
    steady = [r for r in crossed if _mostly_low(gains, int(np.searchsorted(used, r)))]
    suggestion = min(float(steady[0]) if steady else least, least / 4)
    return RangeTest(
        tuple(float(f"{r:.4g}") for r in used),
        tuple(float(f"{v:.5g}") for v in smooth),
        tuple(None if g is None else float(f"{g:.4g}") for g in gains),
        float(f"{least:.3g}"),
        float(f"{suggestion:.2g}"),
    )


def running_gain(changes: list[tuple[float, float]]) -> list[float | None]:
    """Return the gain ratio over a window around each step."""
    half, result = WINDOW // 2, []
    for i in range(len(changes)):
        part = changes[max(0, i - half) : i + half + 1]
        finite = [(c, p) for c, p in part if math.isfinite(c) and math.isfinite(p)]
        promised = sum(p for _, p in finite)
        result.append(sum(c for c, _ in finite) / promised if promised < 0 else None)
    return result


def _mostly_low(gains: list[float | None], start: int) -> bool:
    following = [g for g in gains[start : start + 3 * WINDOW] if g is not None]
    return sum(g < GAIN for g in following) * 2 >= len(following)


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Return the running mean of the losses, corrected for its start (as Adam's moments are)."""
    mean, result = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        result.append(mean / (1 - SMOOTHING**number))
    return np.array(result)


def _endless(
    learnt: Examples, batch_size: int, order: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    while True:
        yield from batches(learnt, batch_size, order)


def _step(
    state: TrainingState, recipe: Recipe, batch: tuple[Tensor, Tensor, Tensor], rate: float
) -> tuple[float, tuple[float, float]]:
    state.model.train()
    state.lr = rate
    recorder = Recorder(1, stride=1)
    return train_step(state, recipe, batch, recorder, step=0), recorder.changes[0]


def write_range_test(test: RangeTest, folder: Path) -> Path:
    """Write the test's figures and its image into `folder`; return the image's path."""
    write_json(folder / JSON, test.to_dict())
    image = folder / IMAGE
    write_bytes(image, draw_range_test(test, title="learning-rate range test"))
    return image


def read_range_test(folder: Path) -> RangeTest | None:
    """Return the test that was written into `folder`, or None.

    Raises:
        RunFolderError: the file is damaged.
    """
    path = folder / JSON
    if not path.exists():
        return None
    try:
        return RangeTest.from_dict(read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            f"{path} is damaged: {error}", hint="delete it; mien doctor makes it again"
        ) from error


def draw_range_test(test: RangeTest, *, title: str) -> bytes:
    """Return the test's curve with its suggestion as PNG bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    losses, gains = figure.subplots(2, 1, sharex=True)
    losses.plot(test.rates, test.losses, color=BLUE)
    low, start = min(test.losses), test.losses[0]
    losses.set_ylim(low - 0.15 * (start - low) - 0.02, start + 0.6 * (start - low) + 0.05)
    losses.set_ylabel("training loss\n(running mean)")
    losses.set_title(title, loc="left", weight="bold")
    losses.annotate(
        f" suggestion {test.suggestion:g}",
        (test.suggestion, 0.97),
        xycoords=("data", "axes fraction"),
        va="top",
        color=ORANGE,
    )
    known = [math.nan if g is None else g for g in test.gains]
    gains.plot(test.rates, known, color=INK)
    gains.axhline(GAIN, color=GREY, lw=1, ls="--")
    gains.set_ylim(-0.3, 1.15)
    gains.set_ylabel("gain of a step over\nwhat was promised")
    gains.set_xlabel("learning rate")
    for axes in (losses, gains):
        axes.set_xscale("log")
        axes.axvline(test.suggestion, color=ORANGE, lw=1.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return png_bytes(figure)
