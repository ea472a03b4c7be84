"""Class priors: correct probabilities for other class frequencies, and estimate those.

A classifier's probabilities contain the class frequencies of its training data. Where faces come
from elsewhere, with other frequencies, dividing by the training prior and multiplying by the
prior that holds there gives the right posterior (label shift: p(image | label) stays the same).

Saerens, Latinne, Decaestecker 2002, "Adjusting the outputs of a classifier to new a priori
probabilities: a simple procedure", Neural Computation 14(1), doi:10.1162/089976602753284446.
With a uniform prior this is post-hoc logit adjustment with tau = 1: Menon et al. 2021, "Long-tail
learning via logit adjustment", arXiv:2007.07314.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, ModelFileError, did_you_mean
from mien.model.info import PRIOR_TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.model.classifier import FaceClassifier
    from mien.model.info import ModelInfo

UNIFORM, TRAINING = "uniform", "training"
MIN_FACES = 50
"""With fewer faces, an estimated prior is shrunk towards the training prior."""
MAX_STEPS, TOLERANCE = 1000, 1e-7
"""EM ends when no class moves by more than TOLERANCE, or after MAX_STEPS."""

Prior = str | Mapping[str, float]
"""'uniform', 'training', or a probability per label."""


class WithPrior:
    """A classifier whose outputs are corrected to another class prior.

    The correction is a constant added to the logits, so that images, videos and the server need
    not know of it.

    Args:
        classifier: the model.
        prior: see `prior_shift`.

    Raises:
        ConfigError, ModelFileError: as `prior_shift` does.
    """

    def __init__(self, classifier: FaceClassifier, prior: Prior) -> None:
        shift = prior_shift(classifier.info, prior)
        self._classifier, self._offset_k = classifier, None
        self.info = classifier.info
        if shift is not None:
            self._offset_k = shift.offset_k
            target = dict(zip(self.info.labels, shift.target_k, strict=True))
            self.info = replace(self.info, prior=target)

    def logits(self, crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the corrected logits, float32 [n, k], of crops, uint8 [n, size, size]."""
        logits_nk = self._classifier.logits(crops_nhw)
        return logits_nk if self._offset_k is None else logits_nk + self._offset_k


@dataclass(frozen=True, slots=True)
class PriorShift:
    """A correction of probabilities from one class prior to another.

    Attributes:
        source_k: prior that the probabilities have, in the model's order; above 0.
        target_k: prior where the model is used, in the same order.
    """

    source_k: tuple[float, ...]
    target_k: tuple[float, ...]

    @property
    def offset_k(self) -> NDArray[np.float32]:
        """What is added to the logits, float32 [k]; minus infinity for a probability of 0."""
        with np.errstate(divide="ignore"):
            offset_k: NDArray[np.float32] = np.log(
                np.asarray(self.target_k) / np.asarray(self.source_k)
            ).astype(np.float32)
        return offset_k

    def correct(self, probabilities_nk: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return p'(k), proportional to p(k) target(k) / source(k), float32 [n, k].

        Args:
            probabilities_nk: float32 [n, k], each row sums to 1.
        """
        ratio_k = np.asarray(self.target_k) / np.asarray(self.source_k)
        return _reweigh(probabilities_nk, ratio_k).astype(np.float32)


def prior_shift(info: ModelInfo, prior: Prior | None = None) -> PriorShift | None:
    """Return the correction to a prior, or None where probabilities stay as the model gives them.

    Args:
        info: of the model. Its outputs have the prior `info.prior`, or `info.training_prior`
            where that is None.
        prior: 'uniform' gives each label the same probability; 'training' the frequencies of the
            training data; a mapping gives one probability per label, 0 to 1, which sum to 1
            (tolerance 1e-3); None corrects nothing.

    Raises:
        ConfigError: an unknown name or label, a missing label, a probability out of range, or
            probabilities that do not sum to 1.
        ModelFileError: the model file carries no training prior.
    """
    if prior is None:
        return None
    target_k = _target(prior, info)
    # Dividing by a guessed prior would be worse than no correction.
    if info.training_prior is None:
        raise ModelFileError(
            f"prior: {info.name} carries no training prior for {', '.join(info.labels)}, so its "
            "probabilities cannot be corrected",
            hint="export the model again with this version of mien, or leave prior out",
        )
    training_k = tuple(info.training_prior[label] for label in info.labels)
    # A file whose outputs were corrected once already must not be corrected from the start again.
    source = info.prior or info.training_prior
    source_k = tuple(source[label] for label in info.labels)
    target_k = target_k or training_k
    # No correction at all, so that logits stay the same bit for bit.
    return None if target_k == source_k else PriorShift(source_k, target_k)


def parse_prior(text: str) -> Prior | None:
    """Return the prior in a text: a name, or 'happy=0.2,neutral=0.5,sad=0.3'; None for ''.

    Raises:
        ConfigError: a part that is not label=probability, or a label that is named twice.
    """
    if "=" not in text:
        return text or None
    prior: dict[str, float] = {}
    for part in text.split(","):
        label, _, value = (word.strip() for word in part.partition("="))
        if label in prior:
            raise ConfigError(f"prior: {label} is named twice", hint="name each label once")
        try:
            prior[label] = float(value)
        except ValueError:
            raise ConfigError(
                f"prior: {part.strip()!r} is not label=probability",
                hint="for example happy=0.2,neutral=0.5,sad=0.3",
            ) from None
    return prior


def _target(prior: Prior, info: ModelInfo) -> tuple[float, ...] | None:
    """Return the probabilities in the order of the labels; None for the training prior."""
    labels = info.labels
    if isinstance(prior, Mapping):
        return _checked(prior, labels)
    if prior == UNIFORM:
        return (1 / len(labels),) * len(labels)
    if prior == TRAINING:
        return None
    raise ConfigError(
        f"prior: unknown name {prior!r}",
        hint=did_you_mean(str(prior), (UNIFORM, TRAINING))
        + f"allowed: {UNIFORM!r}, {TRAINING!r}, or a probability for each of {', '.join(labels)}",
    )


def _checked(prior: Mapping[str, float], labels: Sequence[str]) -> tuple[float, ...]:
    example = ", ".join(f"{label}: {1 / len(labels):.3g}" for label in labels)
    unknown = [str(name) for name in prior if name not in labels]
    if unknown:
        raise ConfigError(
            f"prior: unknown label {unknown[0]!r}",
            hint=did_you_mean(unknown[0], labels) + f"the model's labels: {', '.join(labels)}",
        )
    missing = [label for label in labels if label not in prior]
    if missing:
        raise ConfigError(
            f"prior: no probability for {', '.join(missing)}",
            hint=f"give every label one (0 is allowed): {example}",
        )
    values: dict[str, float] = {}
    for label in labels:
        value: object = prior[label]
        number = int | float | np.floating  # a bool is an int too; NaN fails the comparison
        if isinstance(value, bool) or not isinstance(value, number) or not 0 <= value <= 1:
            raise ConfigError(
                f"prior: {label}: {value!r} is out of range 0 to 1", hint=f"for example {example}"
            )
        values[label] = float(value)
    total = sum(values.values())
    if abs(total - 1) > PRIOR_TOLERANCE:
        raise ConfigError(
            f"prior: the probabilities sum to {total:g}, not to 1",
            hint=f"divide each by {total:g}" if total > 0 else f"for example {example}",
        )
    # The rest of PRIOR_TOLERANCE: rounded values sum to 0.999 or 1.001.
    return tuple(value / total for value in values.values())


def estimate_prior(
    probabilities_nk: NDArray[np.float32], training_prior_k: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the class prior of unlabelled faces, float64 [k], by EM (Saerens et al. 2002).

    Each step corrects the probabilities to the current prior and takes their mean as the next
    one. The estimate is only as good as the calibration of the probabilities. Below 50 faces it
    is shrunk: n / 50 of the estimate and the rest of the training prior.

    Args:
        probabilities_nk: uncorrected probabilities, float [n, k], each row sums to 1.
        training_prior_k: class prior of the training data, [k]; above 0, sums to 1.

    Raises:
        ConfigError: shapes that do not fit, rows or a prior that are no probabilities.
    """
    probabilities = np.asarray(probabilities_nk, np.float64)
    training = np.array(training_prior_k, np.float64)
    if probabilities.ndim != 2 or training.shape != probabilities.shape[1:]:
        raise ConfigError(
            f"probabilities_nk must be [n, k] and training_prior_k [k], got "
            f"{list(probabilities.shape)} and {list(training.shape)}",
            hint="give one row per face and one prior for all",
        )
    if not ((training > 0).all() and abs(training.sum() - 1) <= PRIOR_TOLERANCE):
        raise ConfigError(
            f"training_prior_k must be above 0 and sum to 1, got {training.tolist()}",
            hint="a label that was never trained cannot be estimated",
        )
    sums = probabilities.sum(axis=1)
    if not ((probabilities >= 0).all() and (abs(sums - 1) <= PRIOR_TOLERANCE).all()):
        raise ConfigError(
            "probabilities_nk has rows that are negative or do not sum to 1",
            hint="give probabilities, not logits",
        )
    # Within PRIOR_TOLERANCE of 1 so far, since rounded values are accepted.
    training /= training.sum()
    n = len(probabilities)
    if not n:
        return training
    prior = training
    for _ in range(MAX_STEPS):
        before, prior = prior, _reweigh(probabilities, prior / training).mean(axis=0)
        if abs(prior - before).max() <= TOLERANCE:
            break
    # EM on a handful of faces would end at their own labels.
    trust = min(1.0, n / MIN_FACES)
    shrunk: NDArray[np.float64] = trust * prior + (1 - trust) * training
    return shrunk


def _reweigh(
    probabilities_nk: NDArray[np.floating], ratio_k: NDArray[np.float64]
) -> NDArray[np.float64]:
    weighed = probabilities_nk.astype(np.float64) * ratio_k
    total = weighed.sum(axis=1, keepdims=True)
    # All of a face's probability may lie on labels that the prior rules out; then it says nothing.
    safe = np.where(total > 0, total, 1.0)
    fallback = ratio_k / ratio_k.sum()
    corrected: NDArray[np.float64] = np.where(total > 0, weighed / safe, fallback)
    return corrected
