"""How long a step of a recipe takes here, for estimates before a long work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import torch

from mien.train.loop.fit import start_state, train_step
from mien.train.loop.loader import batches, make_examples
from mien.train.loop.signals import Recorder
from mien.train.recipe.adapt import adapted

if TYPE_CHECKING:
    from mien.data.dataset import Dataset
    from mien.train.recipe.recipe import Recipe

STEPS = 6
"""Steps that are taken; the median of all but the first counts."""


def seconds_per_image(train: Dataset, recipe: Recipe) -> float:
    """Return the processor seconds that learning from one image takes.

    Args:
        train: images to learn from; a batch of them at least.
        recipe: to take steps of; nothing is kept of it.

    Raises:
        DataError: the data cannot be trained on with this recipe.
    """
    threads = torch.get_num_threads()
    recipe = adapted(recipe, train)
    learnt = make_examples(train, recipe)
    seconds = []
    try:
        with torch.random.fork_rng(devices=[]):
            size = int(train.images_nhw.shape[1])
            state = start_state(recipe, learnt, size, torch.device("cpu"))
            state.model.train()
            state.lr = 1e-6
            drawn = batches(learnt, recipe.fit.batch_size, state.order)
            for _, batch in zip(range(STEPS), drawn, strict=False):
                started = time.process_time()
                train_step(state, recipe, batch, Recorder(1, 1 << 30), step=1)
                seconds.append(time.process_time() - started)
    finally:
        torch.set_num_threads(threads)
    later = sorted(seconds[1:] or seconds)
    return later[len(later) // 2] / recipe.fit.batch_size
