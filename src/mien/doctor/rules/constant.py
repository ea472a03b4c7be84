"""Rules about masks and tokens of a watched loop that are nearly all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.facts import watched
from mien.doctor.finding import Finding
from mien.doctor.programs.bars import bars
from mien.doctor.requirements import PROGRAM
from mien.doctor.rule import LEARNS_NOTHING, rule

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.thresholds import Thresholds


@rule("tokens-unknown", needs=(PROGRAM,))
def tokens_unknown(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """Nearly all tokens are one id, as where a vocabulary does not fit the text."""
    found = watched(evidence).common_token
    if found is None or min(found.fraction, found.interior) < limits.common_token:
        return None
    if found.distinct > found.ids / 2:
        return None  # the ids of the embedding occur: some are common, and that is all
    return Finding(
        "tokens-unknown",
        "warning",
        "nearly all tokens are the same one",
        f"{found.fraction:.0%} of the kept tokens, padding at an end aside, are {found.token}, "
        f"also between others ({found.interior:.0%}); {found.distinct} of {found.ids:,} ids of the "
        "embedding occur.",
        "Build the vocabulary from the training text, with the same tokeniser and the same case, "
        "and count the words that it does not hold.",
        (),
        {"token": found.token, "fraction": found.fraction, "distinct": found.distinct},
        bars("fraction of tokens", {str(found.token): found.fraction}, limits.common_token),
    )


@rule("background-only", needs=(PROGRAM,), explained_by=LEARNS_NOTHING)
def background_only(evidence: Evidence, limits: Thresholds) -> Finding | None:
    """A segmentation predicts no foreground, which is rare in its masks."""
    found = watched(evidence).foreground
    if found is None or not 0 < found.target < limits.foreground:
        return None
    if found.predicted > limits.predicted_foreground * found.target:
        return None
    return Finding(
        "background-only",
        "warning",
        "only background is predicted",
        f"{found.target:.2%} of {found.positions:,} positions of the kept training masks are 1, "
        f"and {found.predicted:.2%} of the predictions: {1 - found.target:.1%} of them are right "
        "without any foreground.",
        "Weight the foreground, BCEWithLogitsLoss(pos_weight=negatives / positives), or add a Dice "
        "loss; report IoU or Dice, not accuracy.",
        (),
        {"target": found.target, "predicted": found.predicted, "positions": found.positions},
        bars("fraction of positions", {"foreground": found.target,
                                       "predicted": found.predicted}),
        "high",
    )  # fmt: skip
