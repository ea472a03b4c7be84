"""Sets of labels that hold the right one as often as was asked for.

Split conformal prediction with the score 1 - p (Sadinle, Lei and Wasserman 2019, "Least ambiguous
set-valued classifiers with bounded error levels", arXiv:1609.00451): a label is in the set where
its probability is at least a limit that was fitted on faces with known answers. The limits travel
in the model file; `mien.evaluate.confidence` fits them.
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
    """Return the probability from which on a label belongs to a set of this coverage.

    Between two fitted levels the higher one is taken, so that sets are never too small.

    Args:
        info: of the model, with the limits that were fitted for it.
        coverage: share of faces whose set shall hold the right label, above 0 and below 1.

    Raises:
        ConfigError: a coverage out of range, or higher than any that was fitted.
        ModelFileError: the model was never fitted for sets.
    """
    if not 0 < coverage < 1:
        raise ConfigError(
            f"the coverage must be above 0 and below 1, got {coverage}", hint="for example 0.95"
        )
    if not info.coverage and any(head.labels == info.labels for head in info.heads):
        raise ModelFileError(
            f"the prediction sets of {info.name} were fitted for its first labels, not for "
            f"{', '.join(info.labels)}",
            hint="leave out the labels, or leave out the coverage",
        )
    if not info.coverage:
        raise ModelFileError(
            f"{info.name} was not fitted for sets of labels",
            hint="fit it on labelled faces: mien calibrate MODEL OUT --data DIR",
        )
    limits = sorted((float(level), least) for level, least in info.coverage["least"].items())
    for level, least in limits:
        if level >= coverage - 1e-9:
            return float(least)
    raise ConfigError(
        f"the coverage must be at most {limits[-1][0]:g} with {info.name}, got {coverage}",
        hint="no number of faces is enough to promise more",
    )


def prediction_set(
    probs_k: NDArray[np.float32], labels: Sequence[str], least: float
) -> tuple[str, ...]:
    """Return the labels with at least that probability, the most probable first, never none."""
    order = (-probs_k).argsort(kind="stable")
    chosen = [labels[i] for i in order if probs_k[i] >= least]
    return tuple(chosen or [labels[order[0]]])
