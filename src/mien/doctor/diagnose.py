"""From evidence to findings: read `diagnose` first.

Each rule judges the evidence on its own. A finding that another one explains (a gradient that
vanishes because the loss is not a number) is left out, so that what remains is what to act upon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mien.doctor.rules  # noqa: F401 - registers the rules
from mien.doctor.requirements import PROGRAM, REPLAY
from mien.doctor.rule import RULES, Abstention
from mien.doctor.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mien.doctor.evidence import Evidence
    from mien.doctor.finding import Finding
    from mien.doctor.rule import Rule


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the rules say of a training.

    Attributes:
        findings: those of high confidence first, then the serious ones; a cause before what may
            follow from it.
        not_judged: name of each rule that abstained → the reason.
    """

    findings: list[Finding]
    not_judged: dict[str, str]


def diagnose(evidence: Evidence, limits: Thresholds | None = None) -> list[Finding]:
    """Return what is wrong with a training, the surest and the serious first; empty if nothing."""
    return apply_rules(evidence, limits).findings


def apply_rules(evidence: Evidence, limits: Thresholds | None = None) -> Diagnosis:
    """Return the findings of all rules, and which rules could not judge the training."""
    return judge(evidence, RULES.values(), limits)


def foreign_rules() -> list[Rule]:
    """Return the rules for trainings that are not mien's: whose steps cannot be repeated here."""
    return [rule for rule in RULES.values() if REPLAY not in rule.needs]


def own_rules() -> list[Rule]:
    """Return the rules for mien's own runs, which `doctor.watch` does not observe."""
    return [rule for rule in RULES.values() if PROGRAM not in rule.needs]


def judge(evidence: Evidence, rules: Iterable[Rule], limits: Thresholds | None = None) -> Diagnosis:
    """Return the findings of some rules, and which of them could not judge the training."""
    limits = limits or Thresholds()
    found: list[Finding] = []
    not_judged: dict[str, str] = {}
    for rule in rules:
        outcome = rule.judge(evidence, limits)
        if isinstance(outcome, Abstention):
            not_judged[rule.name] = outcome.reason
        elif outcome is not None:
            found.append(outcome)
    # Explained findings explain others in turn: all names count, also of those left out.
    names = {finding.name for finding in found}
    kept = [f for f in found if not names & RULES[f.name].explained_by]
    return Diagnosis(_causes_first(sorted(kept, key=_order)), not_judged)


def _causes_first(findings: list[Finding]) -> list[Finding]:
    """Return findings in their order, but each after those that may be its cause."""
    placed: dict[str, Finding] = {}

    def place(finding: Finding) -> None:
        for cause in findings:
            if cause.name in RULES[finding.name].follows and cause.name not in placed:
                place(cause)
        placed.setdefault(finding.name, finding)

    for finding in findings:
        place(finding)
    return list(placed.values())


def _order(finding: Finding) -> tuple[bool, bool, bool]:
    """Return the key to sort by: what was observed itself comes before what may follow from it."""
    return (
        finding.severity == "note" or finding.confidence != "high",
        finding.severity != "serious",
        finding.confidence == "low",
    )
