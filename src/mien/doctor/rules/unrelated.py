"""Labels that what the baseline sees says nothing about, where it does not see everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.finding import Finding
from mien.doctor.plots import baseline_plot

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence


def unrelated_positions(
    evidence: Evidence, where: str, recalls: tuple[float, float, float]
) -> Finding:
    """Return the finding on positions, of which the baseline knows what lies around them."""
    in_train, in_validation, chance = recalls
    return Finding(
        "shuffled-labels",
        "serious",
        f"what lies around a position says nothing about its label in {where}",
        "The baseline (kernel ridge regression on the inputs around a position) reaches a mean "
        f"recall of {in_train:.1%} on training and {in_validation:.1%} on validation, and the "
        f"network is no better; chance level is {chance:.1%}.",
        "",
        (),
        {"training": in_train, "validation": in_validation, "chance": chance},
        baseline_plot(evidence),
        "low",
    )


def unrelated_tokens(
    evidence: Evidence, where: str, recalls: tuple[float, float, float]
) -> Finding:
    """Return the finding on token sequences, of which the baseline knows the words alone."""
    in_train, in_validation, chance = recalls
    return Finding(
        "shuffled-labels",
        "serious",
        f"which tokens a sequence holds says nothing about the labels of {where}",
        "A bag-of-features baseline, which counts tokens and ignores their order, reaches "
        f"a mean recall of {in_train:.1%} on training and {in_validation:.1%} on validation; "
        f"chance level is {chance:.1%}.",
        "",
        (),
        {"training": in_train, "validation": in_validation, "chance": chance},
        baseline_plot(evidence),
        "low",
    )
