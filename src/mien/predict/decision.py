"""From probabilities to a label: the only place where that is decided.

The order is fixed: the model's graph applies its temperature and its class prior, `WithPrior` may
correct to another prior, and the resulting probabilities decide the label, 'unsure' and the
prediction set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.model.conformal import min_set_probability, prediction_set
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
        prediction_set: labels of the conformal prediction set, most probable first; None where
            no coverage is set.
    """

    label: str
    confidence: float
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class DecisionPolicy:
    """How probabilities become a label. `DecisionPolicy.of` makes one for a model.

    Attributes:
        labels: names of the probabilities, in their order: the label set that is predicted.
        threshold: a face whose largest probability is below it is 'unsure'; 0 never abstains.
        set_threshold: labels with at least this probability are in the prediction set; None makes
            no sets.
    """

    labels: tuple[str, ...]
    threshold: float = 0.0
    set_threshold: float | None = None

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        min_confidence: float | None = None,
        coverage: float | None = None,
    ) -> DecisionPolicy:
        """Return the policy for a model; None takes what its file says.

        Args:
            info: of the model.
            min_confidence: decision threshold, 0 to 1 (default: the model's `unsure_below`).
            coverage: of conformal prediction sets, above 0 and below 1 (default: no sets).

        Raises:
            ConfigError: a value out of range.
            ModelFileError: the model was not calibrated for sets.
        """
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigError(
                f"min_confidence: {min_confidence} is out of range 0 to 1",
                hint="for example 0.6; 0 never says unsure",
            )
        return cls(
            info.labels,
            # 0 is a value of its own: never unsure.
            info.unsure_below if min_confidence is None else min_confidence,
            None if coverage is None else min_set_probability(info, coverage),
        )

    def decide(self, probabilities_k: NDArray[np.float32]) -> Decision:
        """Return the decision for one face.

        Args:
            probabilities_k: float32 [k], in the order of `labels`.
        """
        # The first of equals, as everywhere: argmax and the model's order of labels decide.
        best = int(probabilities_k.argmax())
        confidence = float(probabilities_k[best])
        minimum = self.set_threshold
        return Decision(
            self.labels[best] if confidence >= self.threshold else UNSURE,
            confidence,
            {label: float(p) for label, p in zip(self.labels, probabilities_k, strict=True)},
            None if minimum is None else prediction_set(probabilities_k, self.labels, minimum),
        )
