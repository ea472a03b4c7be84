"""The one training step, against a step written out by hand."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from mien.data.dataset import Dataset
from mien.errors import TrainingError
from mien.train.loop.callbacks import Callback
from mien.train.loop.find_lr import find_lr
from mien.train.loop.fit import fit
from mien.train.loop.initial_state import initial_state
from mien.train.loop.loader import Examples, make_examples
from mien.train.loop.loss import balanced_weights, class_fractions
from mien.train.loop.signals import Recorder
from mien.train.loop.stepper import Stepper
from mien.train.recipe.recipe import Recipe
from tests.train.test_fit import recipe, start

CPU = torch.device("cpu")
PLAIN = {"flip": 0, "rotation": 0, "blur": 0, "noise": 0, "erase": 0}


def stepper_for(drawn: Dataset, wanted: Recipe, callbacks: tuple[Callback, ...] = ()) -> Stepper:
    examples = make_examples(drawn.split("train"), wanted)
    size = drawn.images_nhw.shape[1]
    return Stepper(initial_state(wanted, examples, size, CPU), wanted, examples, callbacks)


def batch_of(examples: Examples, n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return examples.pixels[:n], examples.targets_nk[:n], examples.weights_n[:n]


@pytest.mark.parametrize("balance", ["none", "balanced"])
def test_a_step_is_plain_gradient_descent_on_the_weighted_loss(
    drawn: Dataset, balance: str
) -> None:
    rare = drawn.subset((drawn.labels_n != 0) | (torch.arange(len(drawn)) % 4 == 0).numpy())
    wanted = recipe(
        augment=PLAIN, loss={"class_weights": balance}, fit={"ema_decay": 0.0},
        optimizer={"name": "sgd", "momentum": 0.0, "weight_decay": 0.0},
        network={"dropout": 0.0},
    )  # fmt: skip
    stepper = stepper_for(rare, wanted)
    pixels, targets, weights = batch_of(stepper.examples, 32)
    model = copy.deepcopy(stepper.state.model).train()
    if balance == "balanced":
        examples = stepper.examples
        own = balanced_weights(class_fractions(examples.targets_nk, examples.weights_n))
        assert own.max() > 1.5 * own.min()
        weights = weights * (targets @ own)
    each = -(targets * model(pixels.float()).log_softmax(1)).sum(1)
    expected = (each * weights).sum() / weights.sum()
    expected.backward()
    stepper.state.model.train()
    loss = stepper.step(batch_of(stepper.examples, 32), Recorder(1, 1 << 30), lr=0.25)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-6)
    assert stepper.state.lr == 0.25
    for theirs, ours in zip(model.parameters(), stepper.state.model.parameters(), strict=True):
        assert theirs.grad is not None
        torch.testing.assert_close(ours, theirs - 0.25 * theirs.grad)


def test_steps_are_counted_over_the_whole_training(drawn: Dataset) -> None:
    wanted = recipe(schedule={"name": "linear"}, optimizer={"name": "sgd", "lr": 0.1})
    stepper = stepper_for(drawn, wanted)
    recorder = Recorder(1, 1 << 30)
    stepper.train_epoch(recorder)
    assert stepper.next_step == stepper.steps_per_epoch == len(recorder.losses)
    assert stepper.state.lr == pytest.approx(stepper.scheduled_lr(stepper.next_step - 1))
    stepper.state.epoch = 1
    assert Stepper(stepper.state, wanted, stepper.examples).next_step == stepper.next_step
    assert recorder.lr == stepper.scheduled_lr(0)  # the largest of a falling schedule
    assert recorder.digest


class Steps(Callback):
    """Overrides one event: the others are inherited, and do nothing."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, int, float]] = []

    def on_step_end(self, epoch: int, step: int, loss: float) -> None:
        self.seen.append((epoch, step, loss))


def test_a_callback_overrides_only_what_it_needs(tmp_path: Path, drawn: Dataset) -> None:
    callback = Steps()
    run = start(tmp_path / "run", drawn, fit={"epochs": 2})
    fit(run, drawn, [callback])
    steps = len(callback.seen) // 2
    assert steps >= 2
    numbers = [(epoch, step) for epoch, step, _ in callback.seen]
    assert numbers == [(epoch, step) for epoch in (1, 2) for step in range(1, steps + 1)]
    first = sum(loss for epoch, _, loss in callback.seen if epoch == 1) / steps
    assert first == pytest.approx(run.read_metrics()[0].loss)


def test_an_epoch_stops_at_a_loss_that_is_not_finite(drawn: Dataset) -> None:
    callback = Steps()
    stepper = stepper_for(drawn, recipe(), (callback,))
    with torch.no_grad():
        next(stepper.state.model.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"the loss became nan in epoch 1, batch 1") as caught:
        stepper.train_epoch(Recorder(1, 1 << 30))
    assert "optimizer.lr=" in caught.value.hint
    assert callback.seen == []


def test_the_range_test_weighs_classes_as_the_training_does(drawn: Dataset) -> None:
    rare = drawn.subset((drawn.labels_n != 0) | (torch.arange(len(drawn)) % 8 == 0).numpy())
    plain = find_lr(recipe(), rare)
    balanced = find_lr(recipe(loss={"class_weights": "balanced"}), rare)
    assert plain.losses[0] != balanced.losses[0]
