"""What trainings cost: estimates of their CPU time, durations in words, and the limit."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, counted
from mien.study.cell import random_subset
from mien.study.sharing import share
from mien.train.loop.timing import seconds_per_alignment, seconds_per_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mien.data.dataset import Dataset
    from mien.study.cell import Result
    from mien.study.plan import Training

SCORED = 2000
"""Training images predicted after each epoch, see train.fit.TRAIN_SAMPLE."""
# A training step is a forward pass and a backward pass of about twice its cost.
SCORING = 1 / 3
"""Cost of predicting an image over that of training on it."""
MAX_TIMED = 24
"""Networks that are timed for an estimate, at most."""

MAX_TRAININGS, MAX_MINUTES = 1000, 120.0
"""Trainings and minutes above which a study needs a confirmation."""
COSTLY = "pass yes=True to start them; fewer seeds or factors, or more jobs, take less time"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Costs:
    """Estimates of the CPU seconds of trainings, on one thread of this machine.

    Trainings of the same cell are estimated by the finished ones; others by timing a few steps of
    up to MAX_TIMED networks and their alignment networks, and by the mean of these.

    Args:
        trainings: all trainings that may be asked for.
        dataset: that they use.
    """

    def __init__(self, trainings: Sequence[Training], dataset: Dataset) -> None:
        self.dataset = dataset
        self.networks: dict[str, Training] = {}
        for training in trainings:
            self.networks.setdefault(repr(training.recipe.network), training)
        # Evenly over the networks: their costs differ by orders of magnitude.
        names = list(self.networks)
        places = np.linspace(0, len(names) - 1, min(MAX_TIMED, len(names)))
        self.timed = {names[int(i)] for i in np.unique(places.astype(int))}
        self.per_image: dict[str, float] = {}
        self.alignment: dict[tuple[int, float], float] = {}
        self.finished: dict[str, list[float]] = {}

    def add(self, results: Mapping[str, Result], trainings: Mapping[str, Training]) -> None:
        """Take the costs of finished trainings; both mappings are by the training's key."""
        self.finished = {}
        for key, result in results.items():
            self.finished.setdefault(_cell_key(trainings[key]), []).append(result.seconds)

    def seconds(self, training: Training) -> float:
        """Return the CPU seconds that a training takes."""
        known = self.finished.get(_cell_key(training))
        if known:
            return float(np.mean(known))
        return images_trained(training, self.dataset) * self._per_image(training) + (
            self._alignment(training) if training.recipe.network.align else 0.0
        )

    def _per_image(self, training: Training) -> float:
        network = repr(training.recipe.network)
        if network in self.timed:
            if network not in self.per_image:
                small = random_subset(self.dataset, training).split("train")
                self.per_image[network] = seconds_per_image(small, training.recipe)
            return self.per_image[network]
        return float(np.mean([self._per_image(self.networks[name]) for name in self.timed]))

    def _alignment(self, training: Training) -> float:
        key = (training.recipe.network.align, training.train)
        if key not in self.alignment:
            small = random_subset(self.dataset, training).split("train")
            self.alignment[key] = seconds_per_alignment(small, training.recipe)
        return self.alignment[key]


def estimate_seconds(trainings: Sequence[Training], dataset: Dataset) -> float:
    """Return an estimate of the trainings' total time in seconds, on one thread of this machine.

    It includes the training of the alignment networks (`network.align`); a training that is the
    first epochs of another one costs nothing.
    """
    costs = Costs(trainings, dataset)
    return sum(costs.seconds(job.training) for job in share(trainings))


def images_trained(training: Training, dataset: Dataset) -> float:
    """Return the cost of a training, in images trained on."""
    train = _count(training.train, int((dataset.splits_n == "train").sum()))
    validation = _count(training.validation, int((dataset.splits_n == "validation").sum()))
    # After each epoch, a sample of the training images and all validation images are predicted.
    return training.recipe.fit.epochs * (train + SCORING * (min(SCORED, train) + validation))


def refuse_costly(count: int, minutes: float, *, yes: bool, hint: str = COSTLY) -> None:
    """Raise a ConfigError for more than MAX_TRAININGS or MAX_MINUTES, unless `yes` is set.

    Args:
        count: trainings to run.
        minutes: that they take.
        yes: start them all the same.
        hint: of the error, in the caller's terms.
    """
    if not yes and (count > MAX_TRAININGS or minutes > MAX_MINUTES):
        raise ConfigError(
            f"{count:,} trainings take about {duration(minutes)} on this machine",
            hint=hint,
        )


def duration(minutes: float) -> str:
    """Return a time given in minutes as text, in minutes, hours or days."""
    if minutes < 90:
        return counted(max(1, round(minutes)), "minute")
    return f"{minutes / 60:.1f} hours" if minutes < 2880 else f"{minutes / 1440:.1f} days"


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as '45s', '90m', '1.5h' or '1h30m'.

    Raises:
        ConfigError: another form, or no time at all.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = sum(float(number) * UNITS[unit] for number, unit in parts)
    # findall skips what does not match; the parts must make up the whole text.
    if "".join(number + unit for number, unit in parts) != text.strip() or seconds <= 0:
        raise ConfigError(
            f"budget: {text!r} is not a duration above 0",
            hint="give numbers with a unit, s, m, h or d: 90m, 3h, 1h30m",
        )
    return seconds


def _cell_key(training: Training) -> str:
    """Return a key that the seeds of a cell have in common."""
    recipe = training.recipe
    return replace(training, recipe=replace(recipe, fit=replace(recipe.fit, seed=0))).key


def _count(size: float, total: int) -> float:
    return total * (size or 1.0) if size < 1 else size
