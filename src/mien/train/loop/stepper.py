"""One training step, for everything that trains: `fit`, the range test, timing, the replay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from mien.errors import TrainingError
from mien.train.loop.augment import augment, mix, resize_fraction, shrink
from mien.train.loop.distillation import BatchTargets, PooledFeatures, hint_loss, targets_for_batch
from mien.train.loop.distributed import ALONE
from mien.train.loop.freeze import set_training_mode
from mien.train.loop.loader import batches, sampling_chance
from mien.train.loop.loss import TrainingLoss
from mien.train.loop.optimizer import learning_rate, sharpness_aware
from mien.train.loop.signals import DIGEST_STEP, Recorder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from mien.train.loop.callbacks import Callback
    from mien.train.loop.distributed import ProcessGroup
    from mien.train.loop.loader import Examples
    from mien.train.loop.state import TrainingState
    from mien.train.recipe.recipe import Recipe
    from mien.train.recipe.settings import FitConfig


class Stepper:
    """Trains a state's network on examples, batch by batch.

    A step is: augment → forward → loss → backward → optimizer → weight average → signals.

    Args:
        state: network, optimizer and random generators; changed in place.
        recipe: settings of the training.
        examples: training images on the network's device.
        callbacks: their `on_step_end` is called after each step of `train_epoch`.
        group: processes that split each batch; all of them must take every step.

    Raises:
        ConfigError: the processes cannot split a batch into equal shards.
    """

    def __init__(
        self,
        state: TrainingState,
        recipe: Recipe,
        examples: Examples,
        callbacks: Sequence[Callback] = (),
        group: ProcessGroup = ALONE,
    ) -> None:
        group.check(recipe)
        self.state, self.recipe, self.examples = state, recipe, examples
        self.callbacks, self.group = callbacks, group
        # In one process the model itself.
        self.network = group.wrap(state.model)
        self.steps_per_epoch = len(examples) // recipe.fit.batch_size
        # A checkpoint is saved between two epochs: a resumed training starts at a whole one.
        self.next_step = state.epoch * self.steps_per_epoch
        # Of the whole split: the classes of single batches vary.
        self.loss = TrainingLoss.fitted(recipe.loss, examples.targets_nk, examples.weights_n)
        self.chance_n = sampling_chance(examples, recipe.fit.sampling)

    def train_epoch(self, recorder: Recorder) -> float:
        """Train one epoch; return the mean training loss.

        Raises:
            TrainingError: a loss is not finite.
            DataError: there are fewer examples than one batch.
        """
        epoch = self.state.epoch + 1
        self.group.seed_dropout(self.recipe.fit.seed, epoch)
        for number, batch in enumerate(self.batches(), start=1):
            loss = self.step(batch, recorder)
            if not math.isfinite(loss):
                raise not_finite(loss, self.state, f"batch {number}")
            for callback in self.callbacks:
                callback.on_step_end(epoch, number, loss)
        return sum(recorder.losses) / self.steps_per_epoch

    def batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield one epoch's batches of (pixels, targets, weights), in a new random order."""
        # The validation after each epoch leaves the network in evaluation mode.
        set_training_mode(self.state.model, self.recipe.fit)
        size = self.recipe.fit.batch_size
        yield from batches(self.examples, size, self.state.order, self.chance_n)

    def step(
        self,
        batch: tuple[Tensor, Tensor, Tensor],
        recorder: Recorder,
        lr: float | None = None,
    ) -> float:
        """Take one optimizer step; return the batch's loss before it, finite or not.

        Args:
            batch: pixels uint8 [n, 1, s, s], targets float32 [n, k], weights float32 [n].
            recorder: receives the loss, and the signals of the steps that it measures.
            lr: learning rate; None takes the schedule's.
        """
        state, recipe = self.state, self.recipe
        step, self.next_step = self.next_step, self.next_step + 1
        self._set_learning_rate(self.scheduled_lr(step) if lr is None else lr)
        recorder.lr = max(recorder.lr, state.lr)
        inputs, batch_targets, weights, total = self._prepare(batch)
        measured = recorder.prepare(step, inputs.device)

        def batch_loss() -> Tensor:
            return self._loss(inputs, batch_targets, weights, total)

        def mean_loss() -> Tensor:
            return torch.tensor(self.group.mean(batch_loss()))

        loss = batch_loss()
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if recipe.optimizer.sam:
            sharpness_aware(state.model, batch_loss, recipe.optimizer.sam)
        if recipe.optimizer.clip_norm:
            torch.nn.utils.clip_grad_norm_(state.model.parameters(), recipe.optimizer.clip_norm)
        # Waits for the device once in a step, and after all work is queued.
        value = self.group.mean(loss)
        recorder.losses.append(value)
        if step == 0:
            recorder.take_start(state.model, value)
        if measured:
            recorder.step_and_measure(state.model, state.optimizer, mean_loss, value)
        else:
            state.optimizer.step()
        if state.average is not None:
            state.average.update(state.model, step)
        if step + 1 == DIGEST_STEP:
            recorder.take_digest(state.model)
        return value

    def scheduled_lr(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0 over the whole training."""
        recipe = self.recipe
        return learning_rate(
            step, self.steps_per_epoch, recipe.fit.epochs, recipe.optimizer.rate, recipe.schedule
        )

    def _set_learning_rate(self, lr: float) -> None:
        self.state.lr = lr
        for group in self.state.optimizer.param_groups:
            group["lr"] = lr

    def _loss(
        self, inputs: Tensor, batch_targets: BatchTargets, weights: Tensor, total: Tensor
    ) -> Tensor:
        """Return the loss of this process's shard under the current weights, a scalar.

        The mean over the processes is the loss of the whole batch.
        """
        model, recipe = self.network, self.recipe
        if batch_targets.similarity_nn is None:
            with autocast(recipe.fit, inputs.device):
                logits = model(inputs)
            # In float32 whatever the precision: a softmax in bfloat16 has two digits.
            return self.loss(logits.float(), batch_targets.targets_nk, weights, total)
        with PooledFeatures(self.state.model) as features, autocast(recipe.fit, inputs.device):
            logits = model(inputs)
        loss = self.loss(logits.float(), batch_targets.targets_nk, weights, total)
        return loss + recipe.distillation.hint * hint_loss(
            features.last, batch_targets.similarity_nn
        )

    def _prepare(
        self, batch: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, BatchTargets, Tensor, Tensor]:
        """Return this process's augmented inputs, their targets, weights and the weights' total.

        The total is the whole batch's over the number of processes, so that the mean of their
        losses is the loss of the whole batch, however its weights are spread over them.
        """
        pixels, targets, weights = batch
        state, recipe = self.state, self.recipe
        weights = self.loss.weights(targets, weights)
        inputs = augment(pixels, recipe.augment, state.changes)
        inputs, targets = mix(inputs, targets, recipe.augment, state.changes)
        total = weights.sum() / self.group.size
        # Split after the augmentation: its random numbers are those of the whole batch.
        inputs, targets, weights = (self.group.shard(t) for t in (inputs, targets, weights))
        # The teachers see the inputs at full size; only the student's are reduced.
        with autocast(recipe.fit, inputs.device):
            batch_targets = targets_for_batch(state.teachers, inputs, targets, recipe.distillation)
        inputs = shrink(inputs, resize_fraction(recipe.fit, state.epoch))
        return inputs, batch_targets, weights, total


def autocast(config: FitConfig, device: torch.device) -> torch.autocast:
    """Return the context of a forward pass, by `fit.precision`."""
    mixed = config.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


def not_finite(loss: float, state: TrainingState, where: str) -> TrainingError:
    """Return the error of a loss that became NaN or infinite, `where` in the current epoch."""
    return TrainingError(
        f"the loss became {loss} in epoch {state.epoch + 1}, {where}, at learning rate "
        f"{state.lr:g}",
        hint=f"the learning rate is probably too large; set optimizer.lr={state.lr / 10:g}. "
        "The epochs before are kept in the run folder",
    )
