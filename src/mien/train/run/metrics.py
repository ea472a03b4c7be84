"""The figures of one epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One finished epoch.

    Attributes:
        epoch: counted from 1.
        lr: learning rate of its last step.
        loss: mean training loss, on augmented images and with dropout on.
        train_loss: log loss of the answering weights on a sample of the training images,
            not augmented, against the recipe's targets.
        train_accuracy: likewise, share whose largest target is answered.
        validation_loss: log loss against the validation targets.
        validation_accuracy: share right, of the panel where there are votes, else of the labels.
        validation_n: images behind it.
        gap: train_accuracy - validation_accuracy on the same yardstick.
        seconds: the epoch took, validation included.
        images_per_second: trained on, validation not included.
        validation_balanced: balanced accuracy, the mean recall of the classes that occur in
            validation; None in run folders from before it was measured.
    """

    epoch: int
    lr: float
    loss: float
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    validation_n: int
    gap: float
    seconds: float
    images_per_second: float
    validation_balanced: float | None = None

    def merit(self, select: str) -> tuple[float, float]:
        """Return what is larger for a better epoch, by a value of `fit.select`.

        Of equal epochs that with the lower loss is better; one without a balanced accuracy counts
        as worse than any that has one.
        """
        balanced = self.validation_balanced
        first = {
            "accuracy": self.validation_accuracy,
            "balanced_accuracy": -1.0 if balanced is None else balanced,
            "log_loss": -self.validation_loss,
        }
        return first[select], -self.validation_loss

    def to_dict(self) -> dict[str, Any]:
        """Return the epoch as JSON types."""
        return asdict(self)
