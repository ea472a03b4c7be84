"""Labels that what the baseline sees says nothing about, where it does not see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Finding
from mien.doctor.plots import baseline_plot
from mien.doctor.programs.bars import bars

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.programs.program import Program

NOTHING, SOMETHING = 0.05, 0.3
"""R² up to which the inputs say nothing about the targets, and from which they say much."""


def unrelated_parts(
    evidence: Evidence, where: str, recalls: tuple[float, float, float], *, positions: bool
) -> Finding:
    """Return the finding where the baseline sees a part of the inputs: neighbours, or the words.

    Args:
        evidence: of the loop.
        where: 'training' or 'validation'.
        recalls: mean recalls of the baseline on training and validation, and chance level.
        positions: whether positions are predicted, and not sequences of tokens.
    """
    in_train, in_validation, chance = recalls
    figures = (
        f"reaches a mean recall of {in_train:.1%} on training and {in_validation:.1%} on validation"
    )
    if positions:
        title = f"what lies around a position says nothing about its label in {where}"
        text = (
            "The baseline (kernel ridge regression on the inputs around a position) "
            f"{figures}, and the network is no better; chance level is {chance:.1%}."
        )
    else:
        title = f"which tokens a sequence holds says nothing about the labels of {where}"
        text = (
            "A bag-of-features baseline, which counts tokens and ignores their order, "
            f"{figures}; chance level is {chance:.1%}."
        )
    return Finding(
        "shuffled-labels",
        "serious",
        title,
        text,
        "",
        (),
        {"training": in_train, "validation": in_validation, "chance": chance},
        baseline_plot(evidence),
        "low",
    )


def unrelated_values(program: Program) -> Finding | None:
    """Return the finding where inputs explain the targets of one split, and not of the other.

    The baseline is fitted on each split by itself, and predicts each example without it. The
    network must fail on validation, too.
    """
    train, held, own = program.baseline_score, program.held_baseline, program.validation_score
    if train is None or held is None or own is None or not own < NOTHING * 2:
        return None
    if train < NOTHING and held > SOMETHING:
        where, other, low, high = "training", "validation", train, held
    elif held < NOTHING and train > SOMETHING:
        where, other, low, high = "validation", "training", held, train
    else:
        return None
    return Finding(
        "shuffled-labels",
        "serious",
        f"the targets of {where} are unrelated to its inputs",
        f"The baseline (kernel ridge regression, leave-one-out) explains {low:.1%} of the variance "
        f"of the targets of {where} (R²), and {high:.1%} of those of {other}, fitted there; the "
        f"network explains {own:.1%} on validation.",
        "",
        (),
        {"training": train, "validation": held, "network": own},
        bars("R² of the baseline", {"training": train, "validation": held}, NOTHING),
    )
