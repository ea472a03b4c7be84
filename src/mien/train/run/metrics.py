"""The metrics of one epoch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Metrics of one finished epoch.

    Attributes:
        epoch: counted from 1.
        lr: learning rate of its last step.
        loss: mean training loss, on augmented images and with dropout on.
        train_loss: log loss of the scored weights (their average, if there is one) on a sample of
            the training images without augmentation, against their true labels.
        train_accuracy: accuracy on that sample, 0 to 1.
        validation_loss: log loss on validation, against the true labels.
        validation_accuracy: accuracy on validation, 0 to 1; the true label is the raters'
            consensus if the recipe trains on votes, else the dataset's label.
        validation_n: number of validation images.
        gap: train_accuracy - validation_accuracy.
        seconds: duration of the epoch, with validation.
        images_per_second: training speed, without validation.
        validation_balanced: mean recall of the classes that occur in validation, 0 to 1; None in
            run folders of early versions, which did not measure it.
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
        """Return a sort key that is larger for a better epoch, by a value of `fit.select`.

        The lower validation loss breaks ties; an epoch without a balanced accuracy is worse than
        any that has one.
        """
        balanced = self.validation_balanced
        first = {
            "accuracy": self.validation_accuracy,
            "balanced_accuracy": -1.0 if balanced is None else balanced,
            "log_loss": -self.validation_loss,
        }
        return first[select], -self.validation_loss

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics as JSON types."""
        return asdict(self)
