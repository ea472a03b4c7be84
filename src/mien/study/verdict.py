"""From trainings to verdicts: supported, not supported, or undecided.

A comparison is *supported* if the difference has the claimed sign, is at least `min_difference`,
and its p value, corrected over all comparisons of the study, is below 0.05. It is *not supported*
if the 95% interval excludes `min_difference` in the claimed direction. Otherwise it is
*undecided*. A claim is supported if all of its comparisons are, and not supported if one is not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mien.study.plan import MEASURES, trainings
from mien.study.statistics import Difference, Mean, holm, mean_interval, paired

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.study.cell import Result
    from mien.study.plan import Claim, Comparison, Factor, Plan

Verdict = Literal["supported", "not supported", "undecided"]
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class CellOutcome:
    """A cell of the report.

    Attributes:
        name: of the cell.
        results: by seed; None where a training failed or was not run.
        means: of each measure over the seeds.
    """

    name: str
    results: tuple[Result | None, ...]
    means: Mapping[str, Mean]

    def values(self, measure: str) -> list[float | None]:
        """Return a measure for each seed."""
        return [None if r is None else r.measures.get(measure) for r in self.results]


@dataclass(frozen=True, slots=True)
class ComparisonOutcome:
    """A comparison with its statistics.

    Attributes:
        comparison: of the plan.
        difference: None with fewer than two seeds in common.
        p_corrected: p value corrected over all comparisons of the study; 1 without a difference.
        verdict: on this comparison alone.
        missing: the seeds without that measure, by cell, in words; '' for none.
    """

    comparison: Comparison
    difference: Difference | None
    p_corrected: float
    verdict: Verdict
    missing: str = ""

    def sentence(self) -> str:
        """Return the comparison and its statistics in words."""
        c = self.comparison
        if self.difference is None:
            return f"{c.higher} and {c.lower} have fewer than two seeds in common.{self.missing}"
        d, scale = self.difference, 100.0 if points(c.measure) else 1.0
        unit = " points" if points(c.measure) else ""
        name = c.measure.replace("_", " ")
        interval = f"{scale * d.mean.low:+.2f} to {scale * d.mean.high:+.2f}"
        return (
            f"{c.higher} against {c.lower}: {scale * d.mean.value:+.2f}{unit} {name} "
            f"(95% interval {interval}, n = {d.mean.n} seeds, corrected p "
            f"{_p(self.p_corrected)}, g {d.hedges_g:+.1f}; minimum difference "
            f"{scale * c.min_difference:g})."
            f"{self.missing}"
        )


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """A claim with its verdict."""

    claim: Claim
    comparisons: tuple[ComparisonOutcome, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class FactorOutcome:
    """A factor with its cells and claims."""

    factor: Factor
    cells: tuple[CellOutcome, ...]
    claims: tuple[ClaimOutcome, ...]


def judge(plan: Plan, results: Mapping[str, Result]) -> tuple[FactorOutcome, ...]:
    """Return cells and verdicts, with p values corrected over all comparisons of the study.

    Args:
        plan: of the study.
        results: by the key of the training.
    """
    judged: list[FactorOutcome] = []
    for factor in plan.factors:
        cells = {name: _cell(plan, factor, name, results) for name in factor.cells}
        claims = tuple(
            ClaimOutcome(claim, tuple(_compare(c, cells) for c in claim.comparisons), "undecided")
            for claim in factor.claims
        )
        judged.append(FactorOutcome(factor, tuple(cells.values()), claims))
    return _corrected(judged)


BOUNDS = {
    "accuracy": (0.0, 1.0),
    "balanced_accuracy": (0.0, 1.0),
    "best_accuracy": (0.0, 1.0),
    "train_accuracy": (0.0, 1.0),
    "gap": (-1.0, 1.0),
    "loss_rise": (1.0, math.inf),
}
"""Range of each measure: fractions, differences of fractions, final over minimum loss."""


def points(measure: str) -> bool:
    """Return whether a measure is a fraction, to be shown in percentage points."""
    return measure in ("accuracy", "balanced_accuracy", "best_accuracy", "train_accuracy", "gap")


def verdict_of(difference: Difference | None, p_corrected: float, min_difference: float) -> Verdict:
    """Return the verdict on one comparison; the module's docstring has the rule."""
    if difference is None:
        return "undecided"
    if p_corrected < ALPHA and difference.mean.value >= min_difference:
        return "supported"
    return "not supported" if difference.mean.high < min_difference else "undecided"


def _corrected(judged: list[FactorOutcome]) -> tuple[FactorOutcome, ...]:
    known = [
        comparison.difference.p_value
        for factor in judged
        for claim in factor.claims
        for comparison in claim.comparisons
        if comparison.difference is not None
    ]
    corrected = iter(holm(known))

    def decide(outcome: ComparisonOutcome) -> ComparisonOutcome:
        p = next(corrected) if outcome.difference is not None else 1.0
        verdict = verdict_of(outcome.difference, p, outcome.comparison.min_difference)
        return replace(outcome, p_corrected=p, verdict=verdict)

    done = []
    for factor in judged:
        claims = []
        for claim in factor.claims:
            comparisons = tuple(decide(c) for c in claim.comparisons)
            claims.append(replace(claim, comparisons=comparisons, verdict=_combined(comparisons)))
        done.append(replace(factor, claims=tuple(claims)))
    return tuple(done)


def _combined(comparisons: tuple[ComparisonOutcome, ...]) -> Verdict:
    verdicts = {c.verdict for c in comparisons}
    # One refuted comparison refutes the claim, whatever the others say.
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if verdicts == {"supported"} else "undecided"


def _cell(plan: Plan, factor: Factor, name: str, results: Mapping[str, Result]) -> CellOutcome:
    found = tuple(results.get(training.key) for training in trainings(plan, factor, name))
    means = {}
    for measure in MEASURES:
        values = [r.measures.get(measure) for r in found if r is not None]
        means[measure] = mean_interval(
            [v for v in values if v is not None], BOUNDS.get(measure, (-math.inf, math.inf))
        )
    return CellOutcome(name, found, means)


def _compare(comparison: Comparison, cells: Mapping[str, CellOutcome]) -> ComparisonOutcome:
    names = (comparison.higher, comparison.lower)
    higher, lower = (cells[name].values(comparison.measure) for name in names)
    missing = _missing(dict(zip(names, (higher, lower), strict=True)))
    # Pairs need both trainings of a seed: a missing one costs that seed only.
    both = zip(higher, lower, strict=True)
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    difference = None
    if len(pairs) >= 2:
        difference = paired([a for a, _ in pairs], [b for _, b in pairs])
    return ComparisonOutcome(comparison, difference, math.nan, "undecided", missing)


def _missing(values: Mapping[str, list[float | None]]) -> str:
    """Return the seeds without a value, by cell, as a sentence; '' for none."""
    parts = []
    for cell, seeds in values.items():
        lacking = [str(seed) for seed, value in enumerate(seeds) if value is None]
        if lacking:
            parts.append(f"seed{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} of {cell}")
    return f" Missing: {'; '.join(parts)}." if parts else ""


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
