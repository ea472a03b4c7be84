"""Whether a training is reproducible: its first steps are repeated and the weights compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mien.train.loop.initial_state import choose_device, initial_state
from mien.train.loop.loader import make_examples
from mien.train.loop.signals import DIGEST_STEP, Recorder
from mien.train.loop.stepper import Stepper

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.train.run.folder import RunFolder


def is_reproducible(run: RunFolder, dataset: Dataset) -> bool | None:
    """Return whether the run's first steps, repeated, give the same weights bit for bit.

    None where that cannot be known: the run recorded no digest; it used a GPU, another machine,
    another version of torch or another number of threads; it started from trained weights, or
    learnt from teachers, which may have changed and would have to predict all images first; or it
    aligns faces, and the alignment network would have to be trained again.
    """
    recorded = [epoch.digest for epoch in run.read_signals() if epoch.digest]
    device = choose_device(run.recipe.fit.device)
    if not recorded or device.type != "cpu" or not run.started_here():
        return None
    recipe = run.recipe
    if recipe.fit.warm_start or recipe.network.align:
        return None
    if recipe.distillation.teachers and recipe.distillation.weight:
        return None
    return replayed_digest(run, dataset) == recorded[0]


def replayed_digest(run: RunFolder, dataset: Dataset) -> str:
    """Return the digest of the weights after the training's first steps, repeated."""
    recipe = run.recipe
    threads = torch.get_num_threads()
    examples = make_examples(dataset.split("train"), recipe)
    recorder = Recorder(1, stride=1 << 30)  # measures no step closely
    try:
        # The replay seeds the generator; the caller's state must stay as it was.
        with torch.random.fork_rng(devices=[]):
            state = initial_state(recipe, examples, run.input_size, torch.device("cpu"))
            stepper = Stepper(state, recipe, examples)
            for _, batch in zip(range(DIGEST_STEP), stepper.batches(), strict=False):
                stepper.step(batch, recorder)
    finally:
        torch.set_num_threads(threads)
    return recorder.digest
