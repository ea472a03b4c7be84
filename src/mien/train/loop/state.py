"""The state of a training: everything a checkpoint must hold to resume it bit for bit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mien.errors import ModelFileError
from mien.train.loop.optimizer import WeightAverage, make_optimizer
from mien.train.loop.signals import EpochSignals
from mien.train.run.checkpoint import (
    flatten_optimizer,
    load_checkpoint,
    restore_optimizer,
    save_checkpoint,
)
from mien.train.run.metrics import EpochMetrics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.train.networks.registry import Model
    from mien.train.recipe.recipe import Recipe
    from mien.train.run.folder import RunFolder


@dataclass(slots=True)
class TrainingState:
    """Network, optimizer, random generators and history of a training, between two epochs.

    Attributes:
        model: the network that is trained.
        average: moving average of its weights, or None.
        optimizer: of the network's parameters.
        order: random generator of the batches' order.
        changes: random generator of the augmentation; dropout uses torch's global one.
        teachers: networks that predict soft targets in each step; not in the checkpoint, because
            they do not change.
        select: the recipe's `fit.select`, by which `record` chooses the best epoch.
        epoch: number of finished epochs.
        lr: learning rate of the last step.
        best_epoch: number of the best epoch so far, counted from 1; 0 before the first.
        history: metrics of the finished epochs.
        signals: signals of the finished epochs.
    """

    model: Model
    average: WeightAverage | None
    optimizer: torch.optim.Optimizer
    order: torch.Generator
    changes: torch.Generator
    teachers: Sequence[Model] = ()
    select: str = "accuracy"
    epoch: int = 0
    lr: float = 0.0
    best_epoch: int = 0
    history: list[EpochMetrics] = field(default_factory=list)
    signals: list[EpochSignals] = field(default_factory=list)

    @classmethod
    def start(cls, model: Model, recipe: Recipe) -> TrainingState:
        """Return the state before the first epoch."""
        seed = recipe.fit.seed
        return cls(
            model=model,
            average=WeightAverage(model, recipe.fit.ema_decay) if recipe.fit.ema_decay else None,
            optimizer=make_optimizer(model, recipe.optimizer),
            # Two generators: the augmentation must not change the order of the images.
            order=torch.Generator().manual_seed(seed * 2 + 1),
            changes=torch.Generator().manual_seed(seed * 2 + 2),
            select=recipe.fit.select,
        )

    @property
    def scored_model(self) -> Model:
        """The network that is validated and exported: the weight average if there is one."""
        return self.average.model if self.average is not None else self.model  # type: ignore[return-value]

    def is_over(self, recipe: Recipe) -> bool:
        """Whether all epochs are done, or early stopping's patience is exhausted."""
        patience = recipe.fit.early_stopping
        waited = self.epoch - self.best_epoch
        return self.epoch >= recipe.fit.epochs or (0 < patience <= waited)

    def record(self, metrics: EpochMetrics, signals: EpochSignals) -> bool:
        """Add a finished epoch; return whether it is the best so far on validation."""
        self.history.append(metrics)
        self.signals.append(signals)
        self.epoch = metrics.epoch
        earlier = self.history[self.best_epoch - 1] if self.best_epoch else None
        best = earlier is None or metrics.merit(self.select) > earlier.merit(self.select)
        if best:
            self.best_epoch = metrics.epoch
        return best


def save_state(state: TrainingState, run: RunFolder, *, best: bool) -> None:
    """Write the 'last' checkpoint and, if `best`, also 'best'; then metrics and signals."""
    optimizer_tensors, optimizer_values = flatten_optimizer(state.optimizer)
    tensors = {f"model.{name}": value for name, value in state.model.state_dict().items()}
    if state.average is not None:
        averaged = state.average.model.state_dict()
        tensors |= {f"average.{name}": value for name, value in averaged.items()}
    history = [metrics.to_dict() for metrics in state.history]
    values = {
        "epoch": state.epoch,
        "best_epoch": state.best_epoch,
        "optimizer": optimizer_values,
        "history": history,
        # In the checkpoint too, so that a resumed training has them whatever became of
        # signals.jsonl.
        "signals": [signals.to_dict() for signals in state.signals],
    }
    # 'best' first: after a kill in between, the epoch is trained again and writes both.
    if best:
        weights = {f"model.{n}": value for n, value in state.scored_model.state_dict().items()}
        only = {"epoch": state.epoch, "best_epoch": state.epoch, "metrics": history[-1]}
        save_checkpoint(run.checkpoints, "best", weights, only)
    tensors |= optimizer_tensors | _random_states(state)
    save_checkpoint(run.checkpoints, "last", tensors, values)
    run.write_metrics(history)
    run.write_signals(state.signals)


def restore_state(state: TrainingState, run: RunFolder) -> None:
    """Load the run's last checkpoint into a fresh state.

    Raises:
        ModelFileError: the checkpoint is damaged or belongs to a different network.
    """
    tensors, values = load_checkpoint(run.checkpoints, "last")
    try:
        state.model.load_state_dict(_with_prefix(tensors, "model."))
        if state.average is not None:
            state.average.model.load_state_dict(_with_prefix(tensors, "average."))
        restore_optimizer(state.optimizer, tensors, values["optimizer"])
    except (RuntimeError, KeyError, ValueError) as error:
        raise ModelFileError(
            f"the checkpoint in {run.checkpoints} does not fit the run's recipe: {error}",
            hint="config.json was changed after the run started; restore it, or start a new run",
        ) from error
    state.order.set_state(tensors["random.order"])
    state.changes.set_state(tensors["random.changes"])
    torch.set_rng_state(tensors["random.global"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    state.epoch, state.best_epoch = values["epoch"], values["best_epoch"]
    state.history = [EpochMetrics(**row) for row in values["history"]]
    # Older checkpoints have none.
    state.signals = [EpochSignals.from_dict(row) for row in values.get("signals", [])]


def _random_states(state: TrainingState) -> dict[str, Tensor]:
    states = {
        "random.order": state.order.get_state(),
        "random.changes": state.changes.get_state(),
        "random.global": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        states["random.cuda"] = torch.cuda.get_rng_state()
    return states


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
