"""The contract of a rule, and the registry that the decorator `rule` fills.

A rule is a function of the evidence and the thresholds. It returns a finding, None where all is
well, or an `Abstention` where the evidence is there but too weak to judge. What it needs at all is
declared, so that no rule has to check it: without that evidence the rule abstains with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mien.doctor.evidence import Evidence
    from mien.doctor.finding import Finding, Severity
    from mien.doctor.requirements import Requirement
    from mien.doctor.thresholds import Thresholds

    Check = Callable[[Evidence, Thresholds], "Finding | Abstention | None"]

# A rule that never abstains keeps its narrower return type: other rules may call it.
C = TypeVar("C", bound="Callable[[Any, Any], Finding | Abstention | None]")

DOCS = "docs/doctor-findings.md"


@dataclass(frozen=True, slots=True)
class Abstention:
    """A rule that could not judge a training, and the reason in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One registered rule.

    Attributes:
        name: of its finding, and of its section in docs/doctor-findings.md: lower case, hyphens.
        needs: evidence without which it abstains.
        severities: that its finding may have.
        explained_by: names of findings of which this one is a consequence: it is left out beside
            them.
        follows: names of findings that may be its cause, and are listed before it.
        check: the function.
    """

    name: str
    needs: tuple[Requirement, ...]
    severities: tuple[Severity, ...]
    explained_by: frozenset[str]
    follows: frozenset[str]
    check: Check

    @property
    def docs(self) -> str:
        """The rule's section in the documentation, as 'file#anchor'."""
        return f"{DOCS}#{self.name}"

    def judge(self, evidence: Evidence, limits: Thresholds) -> Finding | Abstention | None:
        """Return the finding; None where all is well; an abstention where evidence is missing."""
        for need in self.needs:
            if not need.is_met(evidence):
                return Abstention(need.otherwise)
        return self.check(evidence, limits)


RULES: dict[str, Rule] = {}
"""Every registered rule by its name, in the order in which `mien.doctor.rules` imports them."""


def rule(
    name: str,
    *,
    needs: tuple[Requirement, ...],
    severities: tuple[Severity, ...] = ("warning",),
    explained_by: Iterable[str] = (),
    follows: Iterable[str] = (),
) -> Callable[[C], C]:
    """Register the decorated function as a rule, see `Rule`; the function stays as it is.

    Raises:
        ValueError: a rule of that name is registered already, or `needs` is empty.
    """
    if name in RULES:
        raise ValueError(f"a rule named {name!r} is registered already")
    if not needs:
        raise ValueError(f"rule {name!r}: declare the evidence it needs")

    def register(check: C) -> C:
        RULES[name] = Rule(
            name, needs, severities, frozenset(explained_by), frozenset(follows), check
        )
        return check

    return register


NO_CHANCE = (
    "the loss has no chance level: it falls below 0, as a critic's or the negative log-likelihood "
    "of a density does"
)
"""Why a rule that compares a loss with that of a constant prediction abstains."""

LEARNS_NOTHING = frozenset(
    {
        "positions-mixed",
        "masks-misaligned",
        "loss-unbounded",
        "targets-not-scaled",
        "shuffled-labels",
        "diverged",
        "learning-rate-too-high",
        "learning-rate-too-low",
        "vanishing-gradients",
        "exploding-gradients",
        "invalid-inputs",
        "nonfinite-inputs",
        "optimizer-not-stepped",
        "gradients-accumulate",
        "parameters-not-optimized",
        "unregistered-parameters",
        "no-gradient",
        "trained-in-eval-mode",
        "learning-rate-vanishes",
        "loss-activation-mismatch",
        "poor-initialization",
        "data-not-shuffled",
        "batch-norm-small-batch",
        "preprocessing-differs",
        "examples-mixed",
        "targets-broadcast",
        "targets-out-of-range",
        "label-smoothing-too-strong",
        "class-weights-too-strong",
        "loss-summed",
        "momentum-too-high",
        "weight-decay-too-strong",
        "penalty-too-strong",
        "optimizer-replaced",
        "unused-optimizer",
        "gradients-discarded",
        "weights-reset",
        "stuck-at-zero",
    }
)
"""Findings that keep a network from learning at all, for `explained_by`."""

UNSOUND_LOOP = frozenset(
    {
        "loss-unbounded",
        "nonfinite-inputs",
        "optimizer-not-stepped",
        "gradients-accumulate",
        "parameters-not-optimized",
        "trained-in-eval-mode",
        "learning-rate-vanishes",
        "loss-activation-mismatch",
        "poor-initialization",
        "examples-mixed",
        "targets-broadcast",
        "targets-out-of-range",
        "class-weights-too-strong",
        "loss-summed",
        "momentum-too-high",
        "gradients-discarded",
    }
)
"""Faults of a watched loop that make steps, gradients and activations look wrong."""
