"""Started by torchrun in test_distributed.py: trains on drawn faces and saves the last state."""

from __future__ import annotations

import sys

import torch

from mien.data.drawn import draw_dataset
from mien.train.loop.distributed import process_group
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import make_examples
from mien.train.loop.signals import Recorder
from mien.train.loop.stepper import Stepper
from mien.train.recipe.recipe import recipe_from_dict

RECIPE = {
    "name": "two-processes",
    "labels": "three",
    "targets": {"kind": "labels"},
    # Rank 0 alone would get other statistics, losses and gradients: batch normalisation,
    # unequal weights, mixing across the shards, a second backward pass and a weight average.
    "network": {"name": "tiny", "activation": "silu", "widths": [8, 16, 24, 32], "align": 0},
    "loss": {"class_weights": "balanced"},
    "augment": {"flip": 0.5, "rotation": 10.0, "noise": 0.02, "mixup": 0.2},
    "optimizer": {"name": "sgd", "lr": 0.001, "momentum": 0.9, "sam": 0.02, "clip_norm": 1.0},
    "schedule": {"name": "constant"},
    "fit": {"epochs": 5, "batch_size": 32, "seed": 3, "ema_decay": 0.9, "threads": 1},
}
STEPS = 20


def main(out: str) -> None:
    drawn = draw_dataset(count=240, seed=0)
    # The classes unequal, so that the shards of a batch differ in their weights.
    split = drawn.subset((drawn.labels_n != 0) | (torch.arange(len(drawn)) % 4 == 0).numpy())
    recipe = recipe_from_dict(RECIPE)
    examples = make_examples(split.split("train"), recipe)
    cpu = torch.device("cpu")
    with process_group(cpu) as group:
        state = initial_state(recipe, examples, split.images_nhw.shape[1], cpu)
        stepper = Stepper(state, recipe, examples, group=group)
        recorder = Recorder(1, 4)
        while stepper.next_step < STEPS:
            for batch in stepper.batches():
                if stepper.next_step < STEPS:
                    stepper.step(batch, recorder)
        if group.is_main:
            weights = dict(state.model.state_dict())
            assert state.average is not None
            average = {f"average.{n}": t for n, t in state.average.model.state_dict().items()}
            torch.save(
                {
                    "weights": weights | average,
                    "losses": recorder.losses,
                    "changes": recorder.changes,
                    "norms": recorder.norms,
                },
                out,
            )


if __name__ == "__main__":
    main(sys.argv[1])
