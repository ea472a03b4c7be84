"""What is measured of a watched loop's settings, its course and its kept examples, as records."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Foreground:
    """Fraction of the positions of kept masks that are 1, and that are predicted as 1."""

    target: float
    predicted: float
    positions: int


@dataclass(frozen=True, slots=True)
class CommonToken:
    """The most common id of the kept tokens.

    Attributes:
        token: the id.
        fraction: of all tokens.
        interior: of the tokens between two others of another id.
        distinct: distinct ids.
        ids: that the largest embedding has.
    """

    token: int
    fraction: float
    interior: float
    distinct: int
    ids: int


@dataclass(frozen=True, slots=True)
class Reset:
    """Weights and losses around the ends of epochs.

    Attributes:
        epochs: ends of epochs at which the weights jumped.
        jump: median change of the weights there, over their size.
        before: mean loss of the steps before them.
        after: mean loss of the steps after them.
        first: loss of the training's first steps.
    """

    epochs: int
    jump: float
    before: float
    after: float
    first: float


@dataclass(frozen=True, slots=True)
class Lag:
    """Loss of the same training batch with two models of one form, in evaluation mode.

    Attributes:
        first: loss of the training's first steps.
        watched: loss of the watched model now.
        validated: loss of the model that is validated.
    """

    first: float
    watched: float
    validated: float

    @property
    def progress(self) -> float:
        """The fraction of the watched model's progress that the validated one has made."""
        return (self.first - self.validated) / max(self.first - self.watched, 1e-12)


@dataclass(frozen=True, slots=True)
class Progress:
    """What a training came to.

    Attributes:
        reset: weights that return to the start each epoch; None where they do not.
        distinct: distinct training examples of an epoch; 0 where an epoch was not kept as a whole.
        same_batch: whether all kept batches, 20 or more, are equal.
        validation: distinct validation examples.
        stuck_at_zero: trainable weights that were and are all zero, though they got a gradient.
        lag: of the validated model behind the watched one; None if it is the same.
        uniform_loss: cross-entropy of equal probabilities for all classes; None where the loss is
            none, or is not known.
        first_loss: of the first steps.
        last_loss: median of the last steps.
    """

    reset: Reset | None = None
    distinct: int = 3000
    same_batch: bool = False
    validation: int = 1000
    stuck_at_zero: tuple[str, ...] = ()
    lag: Lag | None = None
    uniform_loss: float | None = None
    first_loss: float = 1.0
    last_loss: float = 0.3


@dataclass(frozen=True, slots=True)
class ClassWeight:
    """A class that the criterion weights: its name, its training labels and its weight."""

    name: str
    count: int
    weight: float


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of the criterion and the optimisers.

    Attributes:
        reduction: of the criterion, such as 'mean'; '' if it has none.
        smoothing: label smoothing of the criterion.
        weights: of the classes that have a training label; empty if there are none.
        targets_per_step: median number of target values in a batch.
        momentum: largest momentum, or first beta, of the optimisers at the end.
        is_plain_sgd: whether the step of every optimiser is proportional to the gradient.
        decay_ratio: L2 weight decay times weight over gradient, median over the layers and the
            first measured steps; None where no optimiser adds decay to the gradient.
        shrinkage: final over initial weights, median over the layers.
        unused_optimizers: optimisers that were never stepped, in words.
        weights_changed: whether a trainable weight changed since the start.
        other_optimizers: live optimisers that hold the model's parameters and are not the watched
            ones, in words.
    """

    reduction: str = "mean"
    smoothing: float = 0.0
    weights: tuple[ClassWeight, ...] = ()
    targets_per_step: int = 32
    momentum: float = 0.9
    is_plain_sgd: bool = False
    decay_ratio: float | None = None
    shrinkage: float = 1.0
    unused_optimizers: tuple[str, ...] = ()
    weights_changed: bool = True
    other_optimizers: tuple[str, ...] = ()
