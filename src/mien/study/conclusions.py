"""What a study concludes: for each family one sentence on where its statement holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.study.claims import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.study.plan import Plan
    from mien.study.verdict import ClaimOutcome, FactorOutcome

UNTESTED = "untested"
"""Instead of the verdict where a comparison has fewer than two pairs of seeds."""
PARTS = {
    "supported": "holds",
    "not supported": "does not hold",
    "undecided": "is undecided",
    UNTESTED: "is not tested yet",
}
"""Verdict → predicate of the sentence, in the order of the sentence."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A family with its claims, primary ones first.

    Attributes:
        family: of the plan; without name and words where the plan declares none.
        claims: with their verdicts.
        sentence: under which conditions the statement holds; '' without a family.
    """

    family: Family
    claims: tuple[ClaimOutcome, ...]
    sentence: str


def conclude(plan: Plan, factors: Sequence[FactorOutcome]) -> list[Conclusion]:
    """Return the conclusion on each family, in the plan's order."""
    claims = [claim for factor in factors for claim in factor.claims]
    conclusions = []
    for family in plan.families or (Family("", ""),):
        own = [claim for claim in claims if claim.claim.family == family.name]
        # False sorts first; the sort is stable, so the plan's order stays within both groups.
        own.sort(key=lambda outcome: not outcome.claim.primary)
        sentence = condition(own) if family.name else ""
        conclusions.append(Conclusion(family, tuple(own), sentence))
    return conclusions


def condition(claims: Sequence[ClaimOutcome]) -> str:
    """Return in one sentence under which conditions a statement holds.

    Examples:
        'It holds with Adam at 0.01 and with Adam at 0.03; it does not hold with SGD at 0.01.'
    """
    parts = []
    for verdict, predicate in PARTS.items():
        places = [c.claim.where or c.claim.words for c in claims if _state(c) == verdict]
        if places:
            parts.append(f"it {predicate} {_listed(places)}")
    text = "; ".join(parts) or "it has no claims"
    states = [_state(claim) for claim in claims]
    if "not supported" in states and "supported" not in states:
        text += "; it holds under none of the conditions decided so far"
    # Not capitalize(), which would lower-case names such as SGD.
    return text[0].upper() + text[1:] + "."


def _state(claim: ClaimOutcome) -> str:
    tested = all(c.difference is not None for c in claim.comparisons)
    # One refuted comparison decides the claim, whatever the untested ones would say.
    return claim.verdict if tested or claim.verdict == "not supported" else UNTESTED


def _listed(words: Sequence[str]) -> str:
    """Return 'a', 'a and b' or 'a, b and c'."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
