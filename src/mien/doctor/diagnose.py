"""What went wrong in a training, by name: read `diagnose` first.

Rules look at the evidence one by one. A finding that another explains (a gradient that vanishes
because the loss is not a number) is left out, so that what remains is what to act upon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.doctor.rules import data, fitting, steps
from mien.doctor.thresholds import Thresholds

if TYPE_CHECKING:
    from mien.doctor.evidence import Evidence
    from mien.doctor.finding import Finding

RULES = (*steps.RULES, *data.RULES, *fitting.RULES)

UNLEARNT = frozenset(
    {
        "labels-shuffled",
        "diverged",
        "step-too-large",
        "step-too-small",
        "vanishing-gradients",
        "exploding-gradients",
        "inputs",
    }
)
"""What keeps a network from learning at all."""
EXPLAINED_BY: dict[str, frozenset[str]] = {
    "step-too-large": frozenset({"diverged", "step-too-small", "vanishing-gradients"}),
    "dead-units": frozenset({"diverged", "vanishing-gradients", "exploding-gradients"}),
    "vanishing-gradients": frozenset({"diverged", "inputs"}),
    "exploding-gradients": frozenset(),
    "batch-statistics": frozenset({"diverged", "step-too-large", "step-too-small"}),
    "label-noise": UNLEARNT | {"validation-differs", "leak", "class-imbalance"},
    "class-ignored": UNLEARNT
    | {
        "dead-units",
        "batch-statistics",
        "class-imbalance",
        "validation-differs",
        "underfitting",
        "too-small",
    },
    "overfitting": frozenset({"labels-shuffled", "validation-differs"}),
    "too-complex": frozenset({"labels-shuffled", "validation-differs"}),
    "underfitting": UNLEARNT | {"dead-units", "batch-statistics", "too-small"},
    "too-small": UNLEARNT,
}
"""A finding is left out where one of these was made too: it is their consequence."""


def diagnose(evidence: Evidence, limits: Thresholds | None = None) -> list[Finding]:
    """Return what is wrong with a training, the serious first; empty where nothing is found."""
    limits = limits or Thresholds()
    found = [finding for rule in RULES if (finding := rule(evidence, limits)) is not None]
    names = {finding.name for finding in found}
    kept = [f for f in found if not names & EXPLAINED_BY.get(f.name, frozenset())]
    return sorted(kept, key=lambda f: f.severity != "serious")
