"""Whether a training is reproducible: its first steps are repeated and the weights compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from mien.train.loop.fit import choose_device, start_state, train_step
from mien.train.loop.loader import batches, make_examples, sampling_chance
from mien.train.loop.optimizer import learning_rate
from mien.train.loop.signals import DIGEST_STEP, Recorder

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
    if recipe.fit.warm or recipe.network.align:
        return None
    if recipe.distil.teachers and recipe.distil.weight:
        return None
    return replayed_digest(run, dataset) == recorded[0]


def replayed_digest(run: RunFolder, dataset: Dataset) -> str:
    """Return the digest of the weights after the training's first steps, repeated."""
    recipe = run.recipe
    threads = torch.get_num_threads()
    learnt = make_examples(dataset.split("train"), recipe)
    steps = len(learnt) // recipe.fit.batch_size
    # The stride is beyond any step: replaying must not pay for measurements.
    recorder = Recorder(1, 1 << 30)  # no step is measured
    try:
        # The replay seeds the generator; the caller's state must stay as it was.
        with torch.random.fork_rng(devices=[]):
            state = start_state(recipe, learnt, run.input_size, torch.device("cpu"))
            state.model.train()
            chance_n = sampling_chance(learnt, recipe.fit.sampling)
            drawn = batches(learnt, recipe.fit.batch_size, state.order, chance_n)
            for step, (pixels, targets, weights) in zip(range(DIGEST_STEP), drawn, strict=False):
                state.lr = learning_rate(
                    step, steps, recipe.fit.epochs, recipe.optimizer.rate, recipe.schedule
                )
                train_step(state, recipe, (pixels, targets, weights), recorder, step)
    finally:
        torch.set_num_threads(threads)
    return recorder.digest
