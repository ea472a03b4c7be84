"""Evidence that rules can require; each requirement knows why a rule abstains without it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.doctor.facts import at_full_rate, loss_curve

if TYPE_CHECKING:
    from collections.abc import Callable

    from mien.doctor.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Requirement:
    """One kind of evidence.

    Attributes:
        name: short, for tests and messages.
        otherwise: why a rule abstains without it, a clause without a full stop.
        is_met: whether the evidence holds it.
    """

    name: str
    otherwise: str
    is_met: Callable[[Evidence], bool]


EPOCHS = Requirement("epochs", "no epoch was finished", lambda e: bool(e.history))
LOSSES = Requirement(
    "losses",
    "no training loss was recorded, and the run did not fail",
    lambda e: bool(loss_curve(e)) or e.status == "failed",
)
MEASURED_STEPS = Requirement(
    "measured steps", "no training step was measured", lambda e: bool(at_full_rate(e))
)
STEPS_OR_LOSSES = Requirement(
    "measured steps or losses",
    MEASURED_STEPS.otherwise,
    # A run too short for a measured step still has a loss that may blow up.
    lambda e: bool(at_full_rate(e)) or (e.program is None and bool(loss_curve(e))),
)
GRADIENT_NORMS = Requirement(
    "gradient norms",
    "no gradient norm was measured",
    lambda e: any(epoch.gradient_norm is not None for epoch in e.signals),
)
LAYERS = Requirement(
    "layers",
    "no epoch has measurements of two layers or more",
    lambda e: any(len(epoch.layers) > 1 for epoch in e.signals),
)
ACTIVATIONS = Requirement(
    "activations",
    "no activation was measured",
    lambda e: any(epoch.stuck for epoch in e.signals),
)
TRAIN_PREDICTIONS = Requirement(
    "training predictions",
    "the network has no finite predictions of classes on the training images",
    lambda e: e.train.probs_nk is not None and len(e.train.y_true_n) > 0,
)
VALIDATION_PREDICTIONS = Requirement(
    "validation predictions",
    "the network has no finite predictions of classes on the validation images",
    lambda e: e.validation.probs_nk is not None and len(e.validation.y_true_n) > 0,
)
BASELINE = Requirement(
    "baseline",
    "a split has no labelled image for the baseline",
    lambda e: all(len(p.y_true_n) == len(p.baseline_nk) > 0 for p in (e.train, e.validation)),
)
BASELINE_OF_EACH = Requirement(
    "baseline of each split",
    BASELINE.otherwise,
    lambda e: (
        BASELINE.is_met(e)
        or (
            e.program is not None
            and None not in (e.program.baseline_score, e.program.held_baseline)
        )
    ),
)
BESIDE_BASELINE = Requirement(
    "scores beside the baseline's",
    "the network's score on training could not be compared with the baseline's",
    lambda e: (
        (TRAIN_PREDICTIONS.is_met(e) and BASELINE.is_met(e))
        or (e.program is not None and None not in (e.program.train_score, e.program.baseline_score))
    ),
)
BOTH_SCORES = Requirement(
    "scores of both splits",
    "the network has no predictions of both splits that could be scored",
    lambda e: (
        (TRAIN_PREDICTIONS.is_met(e) and VALIDATION_PREDICTIONS.is_met(e))
        or (e.program is not None and e.program.causes.fit is not None)
    ),
)
VALIDATION_LABELS = Requirement(
    "validation labels",
    "validation has no labelled image",
    lambda e: len(e.validation.y_true_n) > 0,
)
PIXELS = Requirement(
    "pixels",
    "no training image was examined",
    lambda e: "train" in e.pixels and len(e.pixels["train"].brightness_n) > 0,
)
DUPLICATE_SEARCH = Requirement(
    "duplicate search",
    "no validation image was searched for in training",
    lambda e: e.duplicates[1] > 0 or e.shared_subjects > 0,
)
SPLIT_COMPARISON = Requirement(
    "split comparison",
    "the two splits could not be compared",
    lambda e: not math.isnan(e.domain_shift_auc),
)
CLASS_COUNTS = Requirement(
    "class counts",
    "training has no labelled image",
    lambda e: float(e.class_counts_k.sum()) > 0,
)
NAMED_CLASSES = Requirement(
    "classes that are no tokens",
    "the classes are the tokens of a vocabulary, most of which are rare",
    lambda e: e.program is None or not e.program.vocabulary,
)
REPLAY = Requirement(
    "replay",
    "the first training steps could not be repeated here",
    lambda e: e.is_reproducible is not None,
)
PROGRAM = Requirement(
    "watched loop",
    "the training loop was not watched by doctor.watch",
    lambda e: e.program is not None,
)
