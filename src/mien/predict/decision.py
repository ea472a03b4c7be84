"""From probabilities to a label: the only place where that is decided.

The order is fixed: the model's graph applies its temperature, then the prior correction gives the
probabilities that are reported, and these decide the label, 'unsure' and the prediction set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.errors import ConfigError
from mien.model.conformal import min_set_probability, prediction_set
from mien.predict.prior import prior_shift
from mien.types import UNSURE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mien.model.info import ModelInfo
    from mien.predict.prior import Prior, PriorShift


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one face.

    Attributes:
        label: the most probable label, or 'unsure' where its probability is below the threshold.
        confidence: the largest probability, 0 to 1.
        probabilities: one per label, in the model's order, after the prior correction.
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
        prior: corrects probabilities to another class prior; None leaves them as they are.
    """

    labels: tuple[str, ...]
    threshold: float = 0.0
    set_threshold: float | None = None
    prior: PriorShift | None = None

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        min_confidence: float | None = None,
        coverage: float | None = None,
        prior: Prior | None = None,
    ) -> DecisionPolicy:
        """Return the policy for a model; None takes what its file says.

        Args:
            info: of the model.
            min_confidence: decision threshold, 0 to 1 (default: the model's `unsure_below`).
            coverage: of conformal prediction sets, above 0 and below 1 (default: no sets).
            prior: 'uniform', 'training' or a probability per label; see `prior_shift`.

        Raises:
            ConfigError: a value out of range, or coverage together with a prior correction.
            ModelFileError: the model was not calibrated for sets, or has no training prior.
        """
        if min_confidence is not None and not 0 <= min_confidence <= 1:
            raise ConfigError(
                f"min_confidence: {min_confidence} is out of range 0 to 1",
                hint="for example 0.6; 0 never says unsure",
            )
        shift = prior_shift(info, prior)
        if coverage is not None and shift is not None:
            # The limits of the sets were fitted to uncorrected probabilities of other faces.
            raise ConfigError(
                "coverage and prior exclude each other: prediction sets are calibrated for the "
                "training prior",
                hint="leave one out; prior='training' corrects nothing",
            )
        return cls(
            info.labels,
            info.unsure_below if min_confidence is None else min_confidence,
            None if coverage is None else min_set_probability(info, coverage),
            shift,
        )

    def decide(self, probabilities_k: NDArray[np.float32]) -> Decision:
        """Return the decision for one face.

        Args:
            probabilities_k: as the model gave them, float32 [k], in the order of `labels`.
        """
        probs_k = probabilities_k
        if self.prior is not None:
            probs_k = self.prior.correct(probs_k[None])[0]
        best = int(probs_k.argmax())
        confidence = float(probs_k[best])
        minimum = self.set_threshold
        return Decision(
            self.labels[best] if confidence >= self.threshold else UNSURE,
            confidence,
            {label: float(p) for label, p in zip(self.labels, probs_k, strict=True)},
            None if minimum is None else prediction_set(probs_k, self.labels, minimum),
        )
