"""Labels that what the baseline sees says nothing about, where it does not see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Finding
from mien.doctor.plots import baseline_plot

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence


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
