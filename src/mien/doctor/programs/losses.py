"""What is measured of losses that compare examples, that oppose each other, or steer the rate."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contrastive:
    """A contrastive training's loss, and what its embeddings allow.

    Attributes:
        pairs: of a batch.
        loss: median of the last recorded steps.
        best: lowest loss of the kept pairs at any temperature.
        best_temperature: where that is.
        temperature: where the loss of the kept pairs is nearest to the recorded one.
    """

    pairs: int
    loss: float
    best: float
    best_temperature: float
    temperature: float


@dataclass(frozen=True, slots=True)
class Mixed:
    """Gradients of a parameter that come from the losses of two optimisers.

    Attributes:
        steps: measured ones in which the optimisers followed different losses.
        fraction: of them in which a step used both gradients.
        cosine: between the two, median.
        names: of the parameters that were seen.
    """

    steps: int
    fraction: float
    cosine: float
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plateau:
    """A ReduceLROnPlateau at the end of the training.

    Attributes:
        mode: 'min' or 'max'.
        patience: steps without an improvement that it bears.
        cooldown: steps after a cut that do not count.
        steps: that it took.
        cuts: times that the rate was lower in a training step than in the one before.
        best: value of its metric so far; nan if unknown.
    """

    mode: str
    patience: int
    cooldown: int
    steps: int
    cuts: int
    best: float = math.nan

    @property
    def most(self) -> int:
        """The cuts of a metric that never improved on its first value."""
        rest = self.steps - 2 - self.patience
        return 0 if rest < 0 else 1 + rest // (self.patience + 1 + self.cooldown)
