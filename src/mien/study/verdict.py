"""From trainings to verdicts: supported, not supported, or undecided.

A comparison is *not supported* if its interval excludes `min_difference` in the claimed direction.
It is *supported* if the difference has the claimed sign and its corrected p value is below 0.05;
with `at_least` the mean must also reach `min_difference`. Otherwise it is *undecided*: no
difference, and one that matters, are both possible. A claim is supported if all of its
comparisons are, and not supported if one is not.

Correction: a claim is supported only if all of its comparisons are, so the largest of their p
values is the claim's (Berger 1982, intersection-union test), without correction for their number.
Claims are corrected (Holm 1979) within their family, the primary and the secondary ones each by
themselves. A claim is refuted if one of its comparisons is, so the intervals of a claim with three
or more comparisons are wider than 95% (Bonferroni): no true claim is refuted with a probability
above 5%.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from mien.study.measures import BOUNDS, MEASURES, points
from mien.study.plan import trainings
from mien.study.power import MAX_SEEDS, detectable_difference, seeds_needed
from mien.study.statistics import Difference, Mean, holm, mean_interval, paired, paired_sequential

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mien.study.cell import Result
    from mien.study.claims import Claim, Comparison
    from mien.study.plan import Factor, Plan

Verdict = Literal["supported", "not supported", "undecided"]
ALPHA = 0.05
UNBOUNDED = (-math.inf, math.inf)


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
        difference: None with fewer than two pairs of seeds in common.
        p_corrected: p value corrected within the family; 1 without a difference.
        verdict: on this comparison alone.
        missing: the seeds without that measure, by cell, in words; '' for none.
        level: confidence level of the interval.
        alpha: error rate of one claim of the family, if all are tested alike.
        sequential: whether interval and p value hold at any stopping time.
    """

    comparison: Comparison
    difference: Difference | None
    p_corrected: float
    verdict: Verdict
    missing: str = ""
    level: float = 1 - ALPHA
    alpha: float = ALPHA
    sequential: bool = False

    def detectable(self) -> float:
        """Return the true difference that these seeds detect with probability 0.8; inf if none."""
        d = self.difference
        if d is None or not math.isfinite(d.deviation):
            return math.inf
        return detectable_difference(d.mean.n, d.deviation, self.alpha, sequential=self.sequential)

    def _power(self, scale: float) -> str:
        """Return the power in words, and for an undecided comparison the seeds that it needs."""
        d, c = self.difference, self.comparison
        if d is not None and d.deviation == 0:
            return "all differences are equal"
        found = self.detectable()
        words = f"detectable at 80% power {scale * found:.2g}"
        if not math.isfinite(found):
            words = "too few seeds to detect any"
        if self.verdict != "undecided" or d is None or not math.isfinite(d.deviation):
            return words
        # A spread takes two seeds for each of its pairs.
        n = seeds_needed(c.min_difference, d.deviation, self.alpha, sequential=self.sequential)
        if n is None:
            return f"{words}; the minimum difference needs more than {MAX_SEEDS} seeds"
        return f"{words}; the minimum difference needs about {2 * n if c.spread else n} seeds"

    def sentence(self) -> str:
        """Return the comparison and its statistics in words."""
        c = self.comparison
        if self.difference is None:
            return f"{c.higher} and {c.lower} have fewer than two seeds in common.{self.missing}"
        d, scale, digits = self.difference, *((100.0, 2) if points(c.measure) else (1.0, 3))
        unit = " points" if points(c.measure) else ""
        name = ("spread over seeds of " if c.spread else "") + c.measure.replace("_", " ")
        counted = "pairs of seeds" if c.spread else "seeds"
        interval = "too few for an interval"
        if math.isfinite(d.mean.low):
            low, high = (f"{scale * v:+.{digits}f}" for v in (d.mean.low, d.mean.high))
            interval = f"{100 * self.level:.3g}% interval {low} to {high}"
        return (
            f"{c.higher} against {c.lower}: {scale * d.mean.value:+.{digits}f}{unit} {name} "
            f"({interval}, n = {d.mean.n} {counted}, corrected p {_p(self.p_corrected)}, "
            f"g {d.hedges_g:+.1f}; minimum difference {scale * c.min_difference:g}, "
            f"{self._power(scale)}).{self.missing}"
        )


@dataclass(frozen=True, slots=True)
class ClaimOutcome:
    """A claim with its verdict."""

    claim: Claim
    comparisons: tuple[ComparisonOutcome, ...]
    verdict: Verdict

    @property
    def p_value(self) -> float:
        """The largest p value of its comparisons; 1 where one has no difference."""
        return max(1.0 if c.difference is None else c.difference.p_value for c in self.comparisons)


@dataclass(frozen=True, slots=True)
class FactorOutcome:
    """A factor with its cells and claims."""

    factor: Factor
    cells: tuple[CellOutcome, ...]
    claims: tuple[ClaimOutcome, ...]


def judge(
    plan: Plan,
    results: Mapping[str, Result],
    seeds: Mapping[tuple[str, str], int] | None = None,
    *,
    sequential: bool = False,
) -> tuple[FactorOutcome, ...]:
    """Return cells and verdicts, with p values corrected within families.

    Args:
        plan: of the study.
        results: by the key of the training.
        seeds: number of seeds by the names of factor and cell; the plan's where it is missing.
        sequential: whether seeds were added until claims were decided; intervals and p values
            then hold at any stopping time.
    """
    # Looking after every seed would raise the error rate of the plain t test.
    test = paired_sequential if sequential else paired
    judged: list[FactorOutcome] = []
    for factor in plan.factors:
        cells = {
            name: _cell(plan, factor, name, results, (seeds or {}).get((factor.name, name), 0))
            for name in factor.cells
        }
        claims = []
        for claim in factor.claims:
            # One-sided 5% for the claim: 95% two-sided holds it for up to two comparisons.
            level = max(1 - ALPHA, 1 - 2 * ALPHA / len(claim.comparisons))
            compared = []
            for comparison in claim.comparisons:
                first, second, missing = _pairs(comparison, cells)
                difference = test(first, second, level) if len(first) >= 2 else None
                outcome = ComparisonOutcome(
                    comparison, difference, 1.0, "undecided", missing, level, sequential=sequential
                )
                compared.append(outcome)
            claims.append(ClaimOutcome(claim, tuple(compared), "undecided"))
        judged.append(FactorOutcome(factor, tuple(cells.values()), tuple(claims)))
    return _corrected(judged)


def verdict_of(
    difference: Difference | None, p_corrected: float, min_difference: float, *,
    at_least: bool = False,
) -> Verdict:  # fmt: skip
    """Return the verdict on one comparison; the module's docstring has the rule."""
    if difference is None:
        return "undecided"
    # First: a difference that is too small to matter is refuted, however significant it may be.
    if difference.mean.high < min_difference:
        return "not supported"
    # Not the mean by default: near the smallest difference chance moves it across, look by look.
    if p_corrected < ALPHA and difference.mean.value > (min_difference if at_least else 0):
        return "supported"
    return "undecided"


def _corrected(judged: list[FactorOutcome]) -> tuple[FactorOutcome, ...]:
    """Return the outcomes with corrected p values and verdicts."""
    groups: dict[tuple[str, bool], list[float]] = {}
    for claim in _claims(judged):
        groups.setdefault(_group(claim.claim), []).append(claim.p_value)
    seen = dict.fromkeys(groups, 0)

    def decide(claim: ClaimOutcome) -> ClaimOutcome:
        group = _group(claim.claim)
        ps, place = list(groups[group]), seen[group]
        seen[group] += 1
        compared = []
        for c in claim.comparisons:
            # The p value that the claim would have if this were its only comparison.
            ps[place] = 1.0 if c.difference is None else c.difference.p_value
            p = holm(ps)[place]
            claimed = c.comparison
            verdict = verdict_of(c.difference, p, claimed.min_difference, at_least=claimed.at_least)
            compared.append(replace(c, p_corrected=p, verdict=verdict, alpha=ALPHA / len(ps)))
        return replace(claim, comparisons=tuple(compared), verdict=_combined(compared))

    return tuple(replace(f, claims=tuple(decide(claim) for claim in f.claims)) for f in judged)


def _claims(judged: list[FactorOutcome]) -> Iterator[ClaimOutcome]:
    for factor in judged:
        yield from factor.claims


def _group(claim: Claim) -> tuple[str, bool]:
    """Return what a claim is corrected with: the primary or the secondary claims of its family."""
    return claim.family, claim.primary


def _combined(comparisons: list[ComparisonOutcome]) -> Verdict:
    verdicts = {c.verdict for c in comparisons}
    # One refuted comparison refutes the claim, whatever the others say.
    if "not supported" in verdicts:
        return "not supported"
    return "supported" if verdicts == {"supported"} else "undecided"


def _cell(
    plan: Plan, factor: Factor, name: str, results: Mapping[str, Result], seeds: int
) -> CellOutcome:
    found = tuple(results.get(training.key) for training in trainings(plan, factor, name, seeds))
    means = {}
    for measure in MEASURES:
        values = [r.measures.get(measure) for r in found if r is not None]
        means[measure] = mean_interval(
            [v for v in values if v is not None], BOUNDS.get(measure, UNBOUNDED)
        )
    return CellOutcome(name, found, means)


def _pairs(
    comparison: Comparison, cells: Mapping[str, CellOutcome]
) -> tuple[list[float], list[float], str]:
    """Return the paired values of both cells, and the missing seeds in words."""
    names = (comparison.higher, comparison.lower)
    higher, lower = (cells[name].values(comparison.measure) for name in names)
    # Shared cells may have more seeds, for another claim: only common seeds are paired.
    common = min(len(higher), len(lower))
    higher, lower = higher[:common], lower[:common]
    missing = _missing(dict(zip(names, (higher, lower), strict=True)))
    if comparison.spread:
        higher, lower = _spreads(higher), _spreads(lower)
    # Pairs need both trainings of a seed: a missing one costs that seed only.
    both = zip(higher, lower, strict=True)
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    return [a for a, _ in pairs], [b for _, b in pairs], missing


def _spreads(values: list[float | None]) -> list[float | None]:
    """Return the absolute difference of each two consecutive seeds; None if one is missing.

    Disjoint pairs keep the spreads independent, which a deviation from the mean would not.
    """
    return [
        None if a is None or b is None else abs(a - b)
        for a, b in zip(values[::2], values[1::2], strict=False)
    ]


def _missing(values: Mapping[str, list[float | None]]) -> str:
    """Return the seeds without a value, by cell, as a sentence; '' for none."""
    parts, untrained = [], []
    for cell, seeds in values.items():
        lacking = [str(seed) for seed, value in enumerate(seeds) if value is None]
        if seeds and len(lacking) == len(seeds):
            untrained.append(f" {cell} has no value yet.")
        elif lacking:
            parts.append(f"seed{'s' if len(lacking) > 1 else ''} {', '.join(lacking)} of {cell}")
    return (f" Missing: {'; '.join(parts)}." if parts else "") + "".join(untrained)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.3f}"
