"""Seconds that training steps and alignment take on this machine, to estimate long trainings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from mien.train.loop.align_pretraining import STEPS as ALIGNMENT_STEPS
from mien.train.loop.align_pretraining import fit_alignment
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import make_examples
from mien.train.loop.signals import Recorder
from mien.train.loop.stepper import Stepper
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model
from mien.train.recipe.adapt import adapted

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe

STEPS = 6
"""Steps that are timed; the first is left out of the median."""
ALIGNED = 512
"""Images on which landmarks are found to time that."""
LR = 1e-6
"""Small enough for any network; the learning rate does not change what a step costs."""


def seconds_per_image(train: Dataset, recipe: Recipe) -> float:
    """Return the CPU seconds that training takes per image and epoch.

    Args:
        train: training images, at least one batch.
        recipe: whose steps are timed; nothing is kept of them.

    Raises:
        DataError: the data cannot be trained on with this recipe.
    """
    threads = torch.get_num_threads()
    recipe = adapted(recipe, train)
    examples = make_examples(train, recipe)
    seconds = []
    try:
        with torch.random.fork_rng(devices=[]):
            size = int(train.images_nhw.shape[1])
            state = initial_state(recipe, examples, size, torch.device("cpu"))
            stepper = Stepper(state, recipe, examples)
            recorder = Recorder(1, stride=1 << 30)  # no step is measured: that would take time
            for _, batch in zip(range(STEPS), stepper.batches(), strict=False):
                # CPU time: other programs on the machine slow the wall clock down.
                started = time.process_time()
                stepper.step(batch, recorder, LR)
                seconds.append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    later = sorted(seconds[1:] or seconds)
    return later[len(later) // 2] / recipe.fit.batch_size


def seconds_per_alignment(train: Dataset, recipe: Recipe) -> float:
    """Return the CPU seconds that training the alignment network (`network.align`) takes.

    Landmarks are found on up to ALIGNED images, and a few steps are timed.

    Args:
        train: training images.
        recipe: with `network.align` above 0.

    Raises:
        DataError: landmarks are found on too few of these images.
    """
    threads = torch.get_num_threads()
    examples = make_examples(train, adapted(recipe, train))
    pixels = examples.pixels[:ALIGNED]
    times = [time.process_time()]

    def progress(done: int, _total: int) -> None:
        times.append(time.process_time())
        if done == STEPS:
            raise _TimedEnough

    try:
        with torch.random.fork_rng(devices=[]):
            torch.set_num_threads(recipe.fit.threads or threads)
            model = build_model(
                recipe.network,
                normalise=Normalise.fitted(recipe.network.normalise, pixels.numpy()),
                input_size=int(pixels.shape[-1]),
                classes=examples.targets_nk.shape[1],
            )
            if model.align is None:
                return 0.0
            fit_alignment(model.align, model.normalise, pixels, recipe.fit.seed, progress)
    except _TimedEnough:
        pass
    finally:
        torch.set_num_threads(threads)
    step = (times[-1] - times[1]) / (len(times) - 2)
    landmarks = max(0.0, times[1] - times[0] - step)
    return landmarks * len(examples.pixels) / len(pixels) + ALIGNMENT_STEPS * step


class _TimedEnough(Exception):
    """Not an error: enough steps are timed."""
