"""Train a network: read `fit` first."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mien.data.ground_truth import consensus_targets, label_targets
from mien.errors import ConfigError, DataError, TrainingError
from mien.files import WriteError, sweep
from mien.train.loop.align_pretraining import fit_alignment
from mien.train.loop.augment import augment, mix, shrink, size_share
from mien.train.loop.callbacks import Callback
from mien.train.loop.distillation import load_teachers, soft_targets_for_batch, taught
from mien.train.loop.dlib_face import load_dlib_face, read_dlib_weights
from mien.train.loop.loader import Examples, batches, make_examples, sampling_chance
from mien.train.loop.loss import TrainingLoss
from mien.train.loop.optimizer import learning_rate, sharpness_aware
from mien.train.loop.pretrained import begin_from
from mien.train.loop.signals import DIGEST_STEP, Recorder, stride_for
from mien.train.loop.state import TrainingState, restore_state, save_state
from mien.train.networks.normalise import Normalise
from mien.train.networks.registry import build_model, measure_cost
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset
    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe
    from mien.train.recipe.settings import FitConfig
    from mien.train.run.folder import RunFolder

TRAIN_SAMPLE = 2000
"""Training images that are scored without augmentation after each epoch, for the gap."""

SCORING_BATCH = 256


def fit(
    run: RunFolder,
    dataset: Dataset,
    callbacks: Sequence[Callback] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingState:
    """Train the run's recipe on `dataset`, from its last checkpoint if it has one.

    Every epoch ends with a checkpoint; on the CPU a training that was killed and resumed gives
    the very weights of one that was not. `told` hears of the steps, done and all, by which
    `network.align` learns before the first epoch.

    Raises:
        DataError: the data cannot be trained on with this recipe.
        TrainingError: the loss is not a number.
        KeyboardInterrupt: after the run folder was brought in order.
    """
    recipe = run.recipe
    device = choose_device(recipe.fit.device)
    learnt = taught(make_examples(dataset.split("train"), recipe), recipe)
    validation = yardstick(dataset.split("validation"), recipe)
    sample = yardstick(dataset.split("train"), recipe).first(TRAIN_SAMPLE, recipe.fit.seed)
    state = _begin(run, learnt, device, progress)
    learnt, validation, sample = (part.to(device) for part in (learnt, validation, sample))
    steps = len(learnt) // recipe.fit.batch_size
    stride = stride_for(steps * recipe.fit.epochs)
    cost = measure_cost(state.model, run.input_size)
    status, reason = "failed", ""
    recorder = Recorder(state.epoch + 1, stride)
    try:
        for callback in callbacks:
            callback.on_train_start(run, recipe, cost, len(learnt), steps)
        run.write_status("running", epoch=state.epoch)
        while not state.is_over(recipe):
            started = time.perf_counter()
            recorder = Recorder(state.epoch + 1, stride)
            trained = train_epoch(state, recipe, learnt, callbacks, recorder)
            metrics = _epoch_metrics(state, trained, sample, validation, started)
            best = state.record(metrics, recorder.signals())
            save_state(state, run, best=best)
            for callback in callbacks:
                callback.on_epoch_end(metrics, best=best)
        status = "finished" if state.epoch >= recipe.fit.epochs else "stopped early"
    except KeyboardInterrupt:
        status = "interrupted"
        raise
    except (TrainingError, WriteError) as error:
        reason = error.message
        if isinstance(error, TrainingError):  # the epoch that failed is the one that tells why
            run.write_signals([*state.signals, recorder.signals()])
        raise
    finally:
        try:
            run.write_status(status, epoch=state.epoch, best_epoch=state.best_epoch, reason=reason)
        finally:
            for callback in callbacks:
                callback.on_train_end(status)
    return state


def _begin(
    run: RunFolder, learnt: Examples, device: torch.device, progress: Callable[[int, int], None]
) -> TrainingState:
    """Return the state to go on from: that before the first epoch, or the last checkpoint's."""
    recipe = run.recipe
    if run.has_checkpoint:
        # It needs nobody to begin from, who may be gone by now, and knows where faces lie.
        recipe = replace(recipe, fit=replace(recipe.fit, start="", pretrained=""))
        state = start_state(recipe, learnt, run.input_size, device)
        restore_state(state, run)
    else:
        state = start_state(recipe, learnt, run.input_size, device, progress)
    for folder in (run.path, run.checkpoints):
        sweep(folder)
    return state


def start_state(
    recipe: Recipe,
    learnt: Examples,
    input_size: int,
    device: torch.device,
    aligning: Callable[[int, int], None] | None = None,
) -> TrainingState:
    """Return the state before the first epoch; it follows from the recipe's seed and `fit.start`.

    `network.align` is taught only where `aligning` is there to hear of the steps, done and all:
    that takes minutes, and who only wants to know what steps cost can do without.

    Raises:
        DataError: landmarks are found on too few of the images.
        ConfigError, RunFolderError: as `begin_from` and `load_teachers` do.
        ModelFileError: the weights that `fit.pretrained` names are missing or changed.
    """
    if recipe.fit.threads:
        torch.set_num_threads(recipe.fit.threads)
    torch.manual_seed(recipe.fit.seed)
    normalise = Normalise.fitted(recipe.network.normalise, learnt.pixels.numpy())
    model = build_model(
        recipe.network,
        normalise=normalise,
        input_size=input_size,
        classes=len(recipe.learnt_labels),
    )
    pretrained = read_dlib_weights() if recipe.fit.pretrained else None
    aligned = begin_from(model, recipe)
    if model.align is not None and not aligned and aligning is not None:
        fit_alignment(model.align, normalise, learnt.pixels, recipe.fit.seed, aligning)
    if pretrained is not None:
        load_dlib_face(model, pretrained, learnt.pixels, recipe.fit.seed)
    state = TrainingState.start(
        model.to(device), recipe, TrainingLoss.fitted(recipe.loss, learnt.to(device))
    )
    if recipe.distil.views and recipe.distil.weight:
        state.teachers = [teacher.to(device) for teacher in load_teachers(recipe)]
    return state


def train_epoch(
    state: TrainingState,
    recipe: Recipe,
    learnt: Examples,
    callbacks: Sequence[Callback],
    recorder: Recorder,
) -> tuple[float, float]:
    """Pass once over the examples; return the mean loss and the images per second."""
    state.model.train()
    steps = len(learnt) // recipe.fit.batch_size
    chance_n = sampling_chance(learnt, recipe.fit.sampling)
    started = time.perf_counter()
    drawn = batches(learnt, recipe.fit.batch_size, state.order, chance_n)
    for number, (pixels, targets, weights) in enumerate(drawn, start=1):
        step = state.epoch * steps + number - 1
        state.lr = learning_rate(
            step, steps, recipe.fit.epochs, recipe.optimizer.rate, recipe.schedule
        )
        recorder.lr = max(recorder.lr, state.lr)
        value = train_step(state, recipe, (pixels, targets, weights), recorder, step)
        if not math.isfinite(value):
            raise _not_a_number(value, state, f"batch {number}")
        for callback in callbacks:
            callback.on_step_end(state.epoch + 1, number, value)
    seconds = time.perf_counter() - started
    return sum(recorder.losses) / steps, steps * recipe.fit.batch_size / seconds


def train_step(
    state: TrainingState,
    recipe: Recipe,
    batch: tuple[Tensor, Tensor, Tensor],
    recorder: Recorder,
    step: int,
) -> float:
    """Learn from one batch at the state's learning rate; return its loss before the step."""
    model, optimizer = state.model, state.optimizer
    pixels, targets, weights = batch
    for group in optimizer.param_groups:
        group["lr"] = state.lr
    inputs = augment(pixels, recipe.augment, state.changes)
    inputs, targets = mix(inputs, targets, recipe.augment, state.changes)
    targets = soft_targets_for_batch(state.teachers, inputs, targets, recipe.distil)
    inputs = shrink(inputs, size_share(recipe.fit, state.epoch))
    measured = recorder.begin(step, inputs.device)

    def batch_loss() -> Tensor:
        with autocast(recipe.fit, inputs.device):
            logits = model(inputs)
        return state.loss(logits.float(), targets, weights)

    loss = batch_loss()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    if recipe.optimizer.sam:
        sharpness_aware(model, batch_loss, recipe.optimizer.sam)
    if recipe.optimizer.clip_norm:
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.optimizer.clip_norm)
    value = loss.item()
    recorder.losses.append(value)
    if step == 0:
        recorder.take_start(model, value)
    if measured:
        recorder.step(model, optimizer, batch_loss, value)
    else:
        optimizer.step()
    if state.average is not None:
        state.average.update(model, step)
    if step + 1 == DIGEST_STEP:
        recorder.take_digest(model)
    return value


def autocast(config: FitConfig, device: torch.device) -> torch.autocast:
    """Return the context in which a training step computes, by `fit.precision`."""
    mixed = config.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=mixed)


def yardstick(split: Dataset, recipe: Recipe) -> Examples:
    """Return the images of a split that have one right answer, with one-hot targets.

    A split without any such image is a DataError.
    """
    answers = recipe.answer_labels
    right = right_answers(split, recipe)
    rows = np.flatnonzero(right >= 0)
    if not len(rows):
        raise DataError(
            f"{split.name}: no {split.splits_n[0]} image has one of {', '.join(answers)} for "
            "its right answer",
            hint="check `mien data show DIR`; import with --validation 0.15 to hold some out",
        )
    pixels = torch.from_numpy(np.ascontiguousarray(split.images_nhw[rows]))[:, None]
    targets = np.eye(len(answers), dtype=np.float32)[right[rows]]
    return Examples(pixels, torch.from_numpy(targets), torch.ones(len(rows)))


def right_answers(split: Dataset, recipe: Recipe, answers: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return what each image is graded by, as indices into `answers`, int64 [n], -1 for none.

    That is the raters' panel where there are votes and the recipe learns from them, else the
    label.

    Args:
        split: images with labels and, perhaps, votes.
        recipe: that decides which of the two counts.
        answers: labels that can be right; those that the recipe answers with where empty.
    """
    answers = answers or recipe.answer_labels
    if recipe.targets.kind == "votes" and split.votes_nk is not None:
        return consensus_targets(split.votes_nk, split.vote_names, answers)
    return label_targets(split.labels_n, split.label_names, answers)


@torch.inference_mode()
def score(model: Model, examples: Examples) -> tuple[float, float, float]:
    """Return log loss, accuracy and balanced accuracy on examples with one right answer each."""
    classes = examples.targets_nk.shape[1]
    model.eval()
    logits = torch.cat(
        [model(part.float())[:, :classes] for part in torch.split(examples.pixels, SCORING_BATCH)]
    )
    right = examples.targets_nk.argmax(dim=1)
    loss = torch.nn.functional.cross_entropy(logits, right)
    hits = (logits.argmax(dim=1) == right).float()
    counts = torch.bincount(right, minlength=classes)
    recalls = (
        torch.bincount(right, weights=hits, minlength=classes)[counts > 0] / counts[counts > 0]
    )
    return float(loss), float(hits.mean()), float(recalls.mean())


def _epoch_metrics(
    state: TrainingState,
    trained: tuple[float, float],
    sample: Examples,
    validation: Examples,
    started: float,
) -> EpochMetrics:
    train_loss, train_accuracy, _ = score(state.answering, sample)
    validation_loss, validation_accuracy, balanced = score(state.answering, validation)
    for value in (train_loss, validation_loss):
        if not math.isfinite(value):  # the last steps broke the weights
            raise _not_a_number(value, state, "its last batch")
    return EpochMetrics(
        epoch=state.epoch + 1,
        lr=state.lr,
        loss=trained[0],
        train_loss=train_loss,
        train_accuracy=train_accuracy,
        validation_loss=validation_loss,
        validation_accuracy=validation_accuracy,
        validation_n=len(validation),
        gap=train_accuracy - validation_accuracy,
        seconds=time.perf_counter() - started,
        images_per_second=trained[1],
        validation_balanced=balanced,
    )


def _not_a_number(loss: float, state: TrainingState, where: str) -> TrainingError:
    return TrainingError(
        f"the loss became {loss} in epoch {state.epoch + 1}, {where}, at learning rate "
        f"{state.lr:g}",
        hint="the steps are probably too large: --set optimizer.lr="
        f"{state.lr / 10:g}; the epochs before it are kept in the run folder",
    )


def choose_device(name: str) -> torch.device:
    """Return the device; 'auto' takes a GPU where torch sees one.

    Raises:
        ConfigError: a device that torch does not see here.
    """
    seen = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not seen.get(name, True):
        raise ConfigError(
            f"fit.device is {name!r}, and torch sees none here", hint="--set fit.device=auto"
        )
    if name != "auto":
        return torch.device(name)
    return torch.device(next((device for device in seen if seen[device]), "cpu"))
