"""The learning-rate range test: finds a learning rate that is neither too large nor too small.

A fresh network trains while the rate grows from step to step (Smith 2017, arXiv:1506.01186).
Where the loss falls fastest is hard to read off a noisy curve. The reduction ratio of the steps,
actual over predicted loss reduction (see signals.py), is not: it is 1 for tiny steps and falls
smoothly as they grow. The suggestion is the rate at which it has fallen to GAIN, and at most a
quarter of the rate at the lowest loss. The same recipe, data and seed give the same suggestion.
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
from mien.train.loop.initial_state import choose_device, initial_state
from mien.train.loop.loader import make_examples
from mien.train.loop.signals import Recorder
from mien.train.loop.stepper import Stepper
from mien.train.recipe.adapt import adapted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe

JSON, IMAGE = "lr-range-test.json", "lr-range-test.png"
MIN_LR, MAX_LR = 1e-6, 30.0
STEPS = 160
SMOOTHING = 0.9
"""Weight of the past in the running mean of the losses."""
SETTLED = 10
"""First step whose running mean averages enough losses to be compared with later ones."""
GAIN = 0.85
"""Actual / predicted loss reduction at the suggested rate: nearly as predicted, no tiny steps."""
WINDOW = 9
"""Steps over which actual / predicted loss reduction is taken."""
BLOWN_UP = 3.0
"""The test ends once the running loss is this many times that of the first steps."""


@dataclass(frozen=True, slots=True)
class RangeTest:
    """A learning-rate range test.

    Attributes:
        rates: learning rate of each step, growing.
        losses: running mean of the training loss at each step.
        gains: actual / predicted loss reduction around each step; None where none was predicted.
        min_loss_lr: learning rate at the lowest running loss.
        suggestion: learning rate to train with.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    gains: tuple[float | None, ...]
    min_loss_lr: float
    suggestion: float

    def to_dict(self) -> dict[str, Any]:
        """Return the test as JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RangeTest:
        """Return the test from `to_dict`'s values."""
        values = dict(values)
        if "least" in values:  # the name of min_loss_lr in the first run folders
            values["min_loss_lr"] = values.pop("least")
        curves = {key: tuple(values[key]) for key in ("rates", "losses", "gains")}
        return cls(**{**values, **curves})


def find_lr(
    recipe: Recipe,
    dataset: Dataset,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> RangeTest:
    """Test learning rates from MIN_LR to MAX_LR on a fresh network, which is discarded.

    Args:
        recipe: settings of the training; its optimizer.lr may be "auto".
        dataset: a dataset with a train split.
        progress: called with (steps done, all steps).

    Raises:
        DataError: the data cannot be trained on with this recipe.
        TrainingError: the loss is NaN or infinite from the first steps on.
    """
    recipe = adapted(recipe, dataset)
    recipe = replace(recipe, optimizer=replace(recipe.optimizer, lr=MIN_LR))
    threads = torch.get_num_threads()
    examples = make_examples(dataset.split("train"), recipe)
    device = choose_device(recipe.fit.device)
    # Geometric: rates matter by their ratio.
    rates = np.geomspace(MIN_LR, MAX_LR, STEPS)
    recorder = Recorder(1, stride=1)
    try:
        # The test must not change the random numbers of the training after it.
        with torch.random.fork_rng(devices=[]):
            size = int(dataset.images_nhw.shape[1])
            state = initial_state(recipe, examples, size, device)
            state.average = None  # the test does not score the network
            stepper = Stepper(state, recipe, examples.to(device))
            for rate, batch in zip(rates, _endless_batches(stepper), strict=False):
                stepper.step(batch, recorder, float(rate))
                progress(len(recorder.losses), STEPS)
                if blown_up(recorder.losses):
                    break
    finally:
        torch.set_num_threads(threads)
    losses = recorder.losses
    return suggest(rates[: len(losses)], losses, recorder.changes)


def with_found_lr(
    recipe: Recipe, dataset: Dataset, progress: Callable[[int, int], None] = lambda d, t: None
) -> tuple[Recipe, RangeTest | None]:
    """Return the recipe with a number for its learning rate, and the test if one was needed."""
    if recipe.optimizer.lr != "auto":
        return recipe, None
    test = find_lr(recipe, dataset, progress)
    return replace(recipe, optimizer=replace(recipe.optimizer, lr=test.suggestion)), test


def blown_up(losses: list[float]) -> bool:
    """Whether the last loss is not finite, or the running loss is far above the first ones."""
    if not math.isfinite(losses[-1]):
        return True
    smooth = smoothed(losses)
    # Not among the first steps, whose losses scatter by as much.
    return len(smooth) > 20 and smooth[-1] > BLOWN_UP * smooth[:10].mean()


def suggest(
    rates: NDArray[np.float64], losses: list[float], changes: list[tuple[float, float]]
) -> RangeTest:
    """Return the test's result.

    Args:
        rates: learning rate of each step, growing, float64 [n].
        losses: loss of each step's batch, before the step.
        changes: (actual, predicted) change of the batch's loss by each step.

    Raises:
        TrainingError: fewer than ten losses are finite.
    """
    finite = [v for v in losses if math.isfinite(v)]
    if len(finite) < 10:
        raise TrainingError(
            f"the loss is NaN or infinite after {len(finite)} steps at a learning rate of "
            f"{rates[0]:g}",
            hint="check the scale of the images with mien data show, or set "
            "network.normalise=image",
        )
    smooth, used = smoothed(finite), rates[: len(finite)]
    # A running mean of few losses may be low by chance, and lower than all later ones where the
    # network hardly learns.
    settled = min(SETTLED, len(smooth) - 1)
    min_loss_lr = float(used[settled + int(smooth[settled:].argmin())])
    gains = running_gain(changes[: len(finite)])
    crossed = [r for r, g in zip(used, gains, strict=True) if g is not None and g < GAIN]
    # A single low window among tiny steps is chance: beyond the true rate most windows are low.
    steady = [r for r in crossed if _mostly_low(gains, int(np.searchsorted(used, r)))]
    # At the minimum itself training is at the edge of diverging: stay a factor of 4 below it.
    suggestion = min(float(steady[0]) if steady else min_loss_lr, min_loss_lr / 4)
    return RangeTest(
        tuple(float(f"{r:.4g}") for r in used),
        tuple(float(f"{v:.5g}") for v in smooth),
        tuple(None if g is None else float(f"{g:.4g}") for g in gains),
        float(f"{min_loss_lr:.3g}"),
        float(f"{suggestion:.2g}"),
    )


def running_gain(changes: list[tuple[float, float]]) -> list[float | None]:
    """Return the reduction ratio over a window around each step; None where none was predicted."""
    half, result = WINDOW // 2, []
    for i in range(len(changes)):
        part = changes[max(0, i - half) : i + half + 1]
        finite = [(c, p) for c, p in part if math.isfinite(c) and math.isfinite(p)]
        predicted = sum(p for _, p in finite)
        # The ratio of sums, not the mean of ratios: tiny predictions would dominate that.
        result.append(sum(c for c, _ in finite) / predicted if predicted < 0 else None)
    return result


def _mostly_low(gains: list[float | None], start: int) -> bool:
    following = [g for g in gains[start : start + 3 * WINDOW] if g is not None]
    return sum(g < GAIN for g in following) * 2 >= len(following)


def smoothed(losses: list[float]) -> NDArray[np.float64]:
    """Return the running mean of the losses, bias-corrected for its start like Adam's moments."""
    mean, result = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        result.append(mean / (1 - SMOOTHING**number))
    return np.array(result)


def _endless_batches(stepper: Stepper) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    while True:
        yield from stepper.batches()


def write_range_test(test: RangeTest, folder: Path) -> Path:
    """Write the test's values and its plot into `folder`; return the plot's path."""
    write_json(folder / JSON, test.to_dict())
    image = folder / IMAGE
    write_bytes(image, draw_range_test(test, title="learning-rate range test"))
    return image


def read_range_test(folder: Path) -> RangeTest | None:
    """Return the test in `folder`, or None if there is none.

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
            f"{path} is damaged: {error}", hint="delete it; mien doctor runs the test again"
        ) from error


def draw_range_test(test: RangeTest, *, title: str) -> bytes:
    """Return the curves of loss and reduction ratio, with the suggestion marked, as PNG bytes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), dpi=120, layout="constrained")
    losses, gains = figure.subplots(2, 1, sharex=True)
    losses.plot(test.rates, test.losses, color=BLUE)
    low, start = min(test.losses), test.losses[0]
    # The last losses blow up and would press the rest into a line.
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
    gains.set_ylabel("actual / predicted\nloss reduction")
    gains.set_xlabel("learning rate")
    for axes in (losses, gains):
        axes.set_xscale("log")
        axes.axvline(test.suggestion, color=ORANGE, lw=1.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    return png_bytes(figure)
