"""Names of metrics and ground truths, and estimates in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.intervals import Estimate

NAMES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
GROUND_TRUTHS = {"consensus": "rater consensus", "raw": "raw label"}
"""Ground truths of an evaluation: the raters' majority, and the dataset's own label."""
UNDEFINED_TEXT = "not defined"


def in_words(estimate: Estimate, digits: int = 4) -> str:
    """Return '0.8966 (0.8841 to 0.9095)', or that the metric is not defined."""
    if not estimate.is_defined:
        return UNDEFINED_TEXT
    value, low, high = (f"{v:.{digits}f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high})"
