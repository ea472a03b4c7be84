"""From probabilities to a label: the only place where that is decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.types import UNSURE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.model.info import ModelInfo


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one face.

    Attributes:
        label: the most probable label, or 'unsure' where its probability is below the threshold.
        confidence: the largest probability, 0 to 1.
        probabilities: one per label, in the model's order.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """How probabilities become a label. `DecisionPolicy.of` makes one for a model.

    Attributes:
        labels: names of the probabilities, in their order: the label set that is predicted.
        threshold: a face whose largest probability is below it is 'unsure'; 0 never abstains.
    """

    labels: tuple[str, ...]
    threshold: float = 0.0

    @classmethod
    def of(cls, info: ModelInfo, min_confidence: float | None = None) -> DecisionPolicy:
        """Return the policy for a model.

        Args:
            info: of the model.
            min_confidence: decision threshold, 0 to 1 (default: the model's `unsure_below`).
        """
        return cls(info.labels, info.unsure_below if min_confidence is None else min_confidence)

    def decide(self, probabilities_k: NDArray[np.float32]) -> Decision:
        """Return the decision for one face.

        Args:
            probabilities_k: float32 [k], in the order of `labels`.
        """
        best = int(probabilities_k.argmax())
        confidence = float(probabilities_k[best])
        return Decision(
            self.labels[best] if confidence >= self.threshold else UNSURE,
            confidence,
            {label: float(p) for label, p in zip(self.labels, probabilities_k, strict=True)},
        )
