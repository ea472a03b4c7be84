"""Conformal prediction sets, which contain the true label with a chosen coverage.

Split conformal prediction with the score 1 - p (Sadinle, Lei and Wasserman 2019, "Least ambiguous
set-valued classifiers with bounded error levels", arXiv:1609.00451): a label is in the set if its
probability is at least a limit that was calibrated on labelled faces. The limits are stored in the
model file; `mien.evaluate.confidence` fits them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from mien.model.info import ModelInfo


def min_set_probability(info: ModelInfo, coverage: float) -> float:
    """Return the minimum probability of a label in a prediction set of this coverage.

    Between two calibrated levels the higher one is used, so that sets are never too small.

    Args:
        info: of the model, with its calibrated limits.
        coverage: fraction of faces whose set contains the true label, above 0 and below 1.

    Raises:
        ConfigError: a coverage out of range, or above every calibrated one.
        ModelFileError: the model was not calibrated for prediction sets.
    """
    if not 0 < coverage < 1:
        raise ConfigError(
            f"coverage: {coverage} is out of range, above 0 and below 1", hint="for example 0.95"
        )
    if not info.coverage and any(head.labels == info.labels for head in info.heads):
        raise ModelFileError(
            f"the prediction sets of {info.name} were calibrated for its first label set, not for "
            f"{', '.join(info.labels)}",
            hint="leave labels out, or leave coverage out",
        )
    if not info.coverage:
        raise ModelFileError(
            f"{info.name} was not calibrated for prediction sets",
            hint="calibrate it on labelled faces: mien calibrate MODEL OUT --data DIR",
        )
    by_level = info.coverage["min_probability"]
    limits = sorted((float(level), limit) for level, limit in by_level.items())
    for level, limit in limits:
        # The next higher calibrated level: its sets hold the true label at least as often.
        if level >= coverage - 1e-9:
            return float(limit)
    raise ConfigError(
        f"coverage: {coverage} is above the maximum of {info.name}, {limits[-1][0]:g}",
        hint=f"use {limits[-1][0]:g} or less, or calibrate the model on more faces: mien calibrate",
    )


def prediction_set(
    probs_k: NDArray[np.float32], labels: Sequence[str], min_probability: float
) -> tuple[str, ...]:
    """Return the labels with at least that probability, most probable first; never an empty set."""
    # Stable: equal probabilities keep the model's order on every machine.
    order = (-probs_k).argsort(kind="stable")
    chosen = [labels[i] for i in order if probs_k[i] >= min_probability]
    # An empty set would have no coverage at all, and says nothing to a reader.
    return tuple(chosen or [labels[order[0]]])
