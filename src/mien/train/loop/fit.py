"""Train a network: read `fit` first."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from mien.errors import TrainingError
from mien.files import WriteError, sweep
from mien.train.loop.distillation import with_soft_targets
from mien.train.loop.distributed import ALONE
from mien.train.loop.initial_state import choose_device, initial_state
from mien.train.loop.loader import make_examples
from mien.train.loop.signals import Recorder, stride_for
from mien.train.loop.state import TrainingState, restore_state, save_state
from mien.train.loop.stepper import Stepper, not_finite
from mien.train.loop.validate import score, scored_examples
from mien.train.networks.registry import measure_cost
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from mien.data.dataset import Dataset
    from mien.train.loop.callbacks import Callback
    from mien.train.loop.distributed import ProcessGroup
    from mien.train.loop.loader import Examples
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder

TRAIN_SAMPLE = 2000
"""Training images that are scored without augmentation after each epoch, for the gap."""


def fit(
    run: RunFolder,
    dataset: Dataset,
    callbacks: Sequence[Callback] = (),
    align_progress: Callable[[int, int], None] = lambda done, total: None,
    group: ProcessGroup = ALONE,
) -> TrainingState:
    """Train the run's recipe on `dataset`; resume from the run's last checkpoint if it has one.

    Every epoch ends with a checkpoint. On the CPU, a training that was killed and resumed gives
    bit for bit the weights of an uninterrupted one.

    Args:
        run: folder of the training, which holds its recipe.
        dataset: splits 'train' and 'validation'.
        callbacks: receive the events of the training, in order.
        align_progress: called with (steps done, all steps) while `network.align` is trained on
            landmarks, before the first epoch.
        group: processes that train together; each calls `fit`. Only rank 0 writes the run folder
            and calls the callbacks.

    Raises:
        ConfigError: the processes cannot split a batch into equal shards.
        DataError: the data cannot be trained on with this recipe.
        TrainingError: the loss became NaN or infinite.
        KeyboardInterrupt: raised again once the run's status is written.
    """
    recipe, device = run.recipe, choose_device(run.recipe.fit.device)
    group.check(recipe)
    if not group.is_main:
        callbacks = ()
    examples = with_soft_targets(make_examples(dataset.split("train"), recipe), recipe)
    sample, validation = _scored_parts(dataset, recipe)
    state = _start_or_resume(run, examples, device, align_progress)
    if group.is_main:
        _remove_partial_files(run)
    examples, sample, validation = (part.to(device) for part in (examples, sample, validation))
    stepper = Stepper(state, recipe, examples, callbacks, group)
    cost = measure_cost(state.model, run.input_size)
    status, reason = "failed", ""
    try:
        for callback in callbacks:
            callback.on_train_start(run, recipe, cost, len(examples), stepper.steps_per_epoch)
        if group.is_main:
            run.write_status("running", epoch=state.epoch)
        _train_epochs(run, stepper, sample, validation)
        status = "finished" if state.epoch >= recipe.fit.epochs else "stopped early"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except (TrainingError, WriteError) as error:
        reason = error.message
        raise
    finally:
        try:
            if group.is_main:
                run.write_status(
                    status, epoch=state.epoch, best_epoch=state.best_epoch, reason=reason
                )
        finally:
            for callback in callbacks:
                callback.on_train_end(status)
    return state


def _scored_parts(dataset: Dataset, recipe: Recipe) -> tuple[Examples, Examples]:
    """Return a sample of the training images, and the validation images, both to be scored."""
    validation = scored_examples(dataset.split("validation"), recipe)
    train = scored_examples(dataset.split("train"), recipe)
    return train.sample(TRAIN_SAMPLE, recipe.fit.seed), validation


def _start_or_resume(
    run: RunFolder,
    examples: Examples,
    device: torch.device,
    align_progress: Callable[[int, int], None],
) -> TrainingState:
    """Return the state of the run's last checkpoint, or the one before the first epoch."""
    recipe = run.recipe
    if run.has_checkpoint:
        # The checkpoint holds all weights; the files that the run was initialised from may be gone.
        recipe = replace(recipe, fit=replace(recipe.fit, init_from="", pretrained=""))
        state = initial_state(recipe, examples, run.input_size, device)
        restore_state(state, run)
    else:
        state = initial_state(recipe, examples, run.input_size, device, align_progress)
    return state


def _remove_partial_files(run: RunFolder) -> None:
    """Remove what a killed run was writing beside the files' destinations."""
    for folder in (run.path, run.checkpoints):
        sweep(folder)


def _train_epochs(run: RunFolder, stepper: Stepper, sample: Examples, validation: Examples) -> None:
    """Train, score and save epoch after epoch, to the last or until early stopping."""
    state, recipe = stepper.state, stepper.recipe
    stride = stride_for(stepper.steps_per_epoch * recipe.fit.epochs)
    while not state.is_over(recipe):
        recorder = Recorder(state.epoch + 1, stride)
        try:
            metrics = _train_and_score(stepper, recorder, sample, validation)
        except TrainingError:
            # The failed epoch has no checkpoint, but the doctor finds the cause in its signals.
            if stepper.group.is_main:
                run.write_signals([*state.signals, recorder.signals()])
            raise
        best = state.record(metrics, recorder.signals())
        # Callbacks may raise (Ctrl-C in a plot): by then the epoch is on disk.
        if stepper.group.is_main:
            save_state(state, run, best=best)
        for callback in stepper.callbacks:
            callback.on_epoch_end(metrics, best=best)


def _train_and_score(
    stepper: Stepper, recorder: Recorder, sample: Examples, validation: Examples
) -> EpochMetrics:
    """Train one epoch and score its weights on the training sample and on validation.

    Raises:
        TrainingError: a loss became NaN or infinite.
    """
    state = stepper.state
    started = time.perf_counter()
    loss = stepper.train_epoch(recorder)
    trained = stepper.steps_per_epoch * stepper.recipe.fit.batch_size
    images_per_second = trained / (time.perf_counter() - started)
    # Scored again on whole images: the loss of augmented batches cannot be compared with
    # validation's.
    train_loss, train_accuracy, _ = score(state.scored_model, sample)
    validation_loss, validation_accuracy, balanced = score(state.scored_model, validation)
    for value in (train_loss, validation_loss):
        if not math.isfinite(value):  # the epoch's last steps broke the weights
            raise not_finite(value, state, "its last batch")
    return EpochMetrics(
        epoch=state.epoch + 1,
        lr=state.lr,
        loss=loss,
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        validation_n=len(validation),
        gap=train_accuracy - validation_accuracy,
        seconds=time.perf_counter() - started,
        images_per_second=images_per_second,
        validation_balanced=balanced,
    )
