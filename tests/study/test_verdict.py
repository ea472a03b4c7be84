from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.study.cell import Result
from mien.study.claims import Claim, Comparison, Family
from mien.study.conclusions import conclude, condition
from mien.study.measures import MEASURES, spread_around_line
from mien.study.plan import Factor, Plan, load_plan, trainings
from mien.study.statistics import holm, paired
from mien.study.verdict import ClaimOutcome, judge

CELLS = {name: {"optimizer.lr": 0.001 * (i + 1)} for i, name in enumerate("abcd")}
NOISE = 0.01


def claim(first: str, second: str, **values: Any) -> Claim:
    comparison = Comparison(first, second, "accuracy", 0.005)
    return replace(Claim(f"{first} over {second}", (comparison,), family="f"), **values)


def make_plan(*claims: Claim, seeds: int = 6) -> Plan:
    factor = Factor("rate", "Rate", cells=dict(CELLS), claims=claims)
    families = tuple(Family(name, f"Statement {name}.") for name in ("f", "g"))
    return Plan("t", "poster", (factor,), families=families, seeds=seeds, train=96, validation=40)


def outcomes(
    plan: Plan, means: dict[str, float], *, sequential: bool = False
) -> list[ClaimOutcome]:
    (factor,) = plan.factors
    results = {}
    for number, (cell, mean) in enumerate(means.items()):
        for training in trainings(plan, factor, cell):
            noise = np.random.default_rng([number, training.recipe.fit.seed]).normal(0, NOISE)
            measures: dict[str, float | None] = {
                **dict.fromkeys(MEASURES),
                "accuracy": mean + noise,
            }
            results[training.key] = Result(training.key, "f", measures, 100, 96, 40, 1.0)
    (judged,) = judge(plan, results, sequential=sequential)
    return list(judged.claims)


MEANS = {"a": 0.60, "b": 0.625, "c": 0.65, "d": 0.60}


def p_of(outcome: ClaimOutcome) -> float:
    (comparison,) = outcome.comparisons
    assert comparison.difference is not None
    return comparison.difference.p_value


def test_claims_are_corrected_within_their_family_and_rank() -> None:
    plan = make_plan(
        claim("b", "a", primary=True),
        claim("c", "a", primary=True),
        claim("d", "a"),
        claim("c", "b"),
        claim("c", "d", family="g", primary=True),
    )
    found = outcomes(plan, MEANS)
    ps = [p_of(outcome) for outcome in found]
    corrected = [outcome.comparisons[0].p_corrected for outcome in found]
    assert corrected == pytest.approx([*holm(ps[:2]), *holm(ps[2:4]), ps[4]])
    assert [outcome.comparisons[0].alpha for outcome in found] == [0.025] * 4 + [0.05]


def test_the_largest_p_value_of_its_comparisons_is_the_claim_s() -> None:
    both = (Comparison("c", "a", "accuracy", 0.005), Comparison("b", "a", "accuracy", 0.005))
    plan = make_plan(claim("c", "a", comparisons=both, primary=True), claim("c", "d", primary=True))
    joint, single = outcomes(plan, MEANS)
    ps = [c.difference.p_value for c in joint.comparisons if c.difference is not None]
    assert joint.p_value == max(ps)
    # No correction for the two comparisons: both must hold (intersection-union test).
    assert joint.comparisons[1].p_corrected == holm([max(ps), single.p_value])[0]
    assert joint.verdict == "supported"
    worse = outcomes(plan, {**MEANS, "b": 0.55})[0]
    assert worse.verdict == "not supported"


def test_a_claim_with_three_comparisons_has_wider_intervals() -> None:
    three = tuple(Comparison(cell, "a", "accuracy", 0.005) for cell in "bcd")
    (one,) = outcomes(make_plan(claim("b", "a", primary=True)), MEANS)
    (many,) = outcomes(make_plan(claim("b", "a", comparisons=three, primary=True)), MEANS)
    assert one.comparisons[0].level == 0.95
    assert many.comparisons[0].level == pytest.approx(1 - 0.1 / 3)
    narrow, wide = one.comparisons[0].difference, many.comparisons[0].difference
    assert narrow is not None
    assert wide is not None
    assert wide.mean.low < narrow.mean.low < narrow.mean.high < wide.mean.high
    assert "96.7% interval" in many.comparisons[0].sentence()


def test_spreads_compare_disjoint_pairs_of_seeds() -> None:
    spread = Comparison("b", "a", "accuracy", 0.005, spread=True)
    plan = make_plan(claim("b", "a", comparisons=(spread,), primary=True), seeds=7)
    (factor,) = plan.factors
    values = {"a": [0.5, 0.5, 0.6, 0.6, 0.7, 0.7, 0.9], "b": [0.4, 0.6, 0.5, 0.8, 0.6, 0.2, 0.1]}
    results = {}
    for cell, accuracies in values.items():
        for training, accuracy in zip(trainings(plan, factor, cell), accuracies, strict=True):
            measures: dict[str, float | None] = {**dict.fromkeys(MEASURES), "accuracy": accuracy}
            results[training.key] = Result(training.key, "f", measures, 100, 96, 40, 1.0)
    (judged,) = judge(plan, results)
    comparison = judged.claims[0].comparisons[0]
    expected = paired([0.2, 0.3, 0.4], [0.0, 0.0, 0.0])
    assert comparison.difference is not None
    assert comparison.difference.mean.value == pytest.approx(expected.mean.value)
    assert comparison.difference.p_value == pytest.approx(expected.p_value)
    assert "n = 3 pairs of seeds" in comparison.sentence()


def test_cells_with_more_seeds_are_paired_by_the_common_ones() -> None:
    plan = make_plan(claim("b", "a", primary=True))
    (factor,) = plan.factors
    long = replace(plan, seeds=9)
    results = {}
    for cell, count in (("a", 9), ("b", 6)):
        for training in trainings(long, factor, cell, count):
            measures: dict[str, float | None] = {**dict.fromkeys(MEASURES), "accuracy": 0.5}
            results[training.key] = Result(training.key, "f", measures, 100, 96, 40, 1.0)
    (judged,) = judge(plan, results, {("rate", "a"): 9, ("rate", "b"): 6})
    assert [len(cell.results) for cell in judged.cells] == [9, 6, 6, 6]
    comparison = judged.claims[0].comparisons[0]
    assert comparison.difference is not None
    assert comparison.difference.mean.n == 6
    assert not comparison.missing
    assert "all differences are equal" in comparison.sentence()


def test_each_comparison_states_its_power() -> None:
    (outcome,) = outcomes(make_plan(claim("d", "a", primary=True)), MEANS)
    (comparison,) = outcome.comparisons
    assert outcome.verdict == "undecided"
    # Two cells with noise 0.01 differ with 0.014; six seeds detect about 1.5 of that.
    assert 0.01 < comparison.detectable() < 0.04
    assert "detectable at 80% power" in comparison.sentence()
    assert "the minimum difference needs about" in comparison.sentence()
    (sequential,) = outcomes(make_plan(claim("d", "a", primary=True)), MEANS, sequential=True)
    assert sequential.comparisons[0].detectable() > comparison.detectable()


def test_few_seeds_have_no_interval_yet() -> None:
    spread = Comparison("b", "a", "accuracy", 0.005, spread=True)
    plan = make_plan(claim("b", "a", comparisons=(spread,), primary=True), seeds=4)
    (outcome,) = outcomes(plan, MEANS, sequential=True)
    sentence = outcome.comparisons[0].sentence()
    assert "too few for an interval" in sentence
    assert "inf" not in sentence
    (other,) = outcomes(make_plan(claim("b", "a", primary=True), seeds=2), {"a": 0.5})
    assert "b has no value yet" in other.comparisons[0].sentence()


def test_where_nothing_differs_a_family_hardly_ever_errs_while_it_grows() -> None:
    """The whole rule, looked at after every seed: three claims against the same cell."""
    claims = [claim(cell, "a", primary=True) for cell in "bcd"]
    wrong = 0
    for study in range(60):
        plan = make_plan(*claims, seeds=16)
        (factor,) = plan.factors
        values = np.random.default_rng(study).normal(0.6, NOISE, (4, 16))
        results = {}
        for cell, row in zip("abcd", values, strict=True):
            for training, value in zip(trainings(plan, factor, cell), row, strict=True):
                measures: dict[str, float | None] = {**dict.fromkeys(MEASURES), "accuracy": value}
                results[training.key] = Result(training.key, "f", measures, 100, 96, 40, 1.0)
        looks = []
        for seeds in range(4, 17, 3):
            (judged,) = judge(plan, results, {("rate", c): seeds for c in "abcd"}, sequential=True)
            looks += [c.verdict for c in judged.claims]
        wrong += "supported" in looks
    assert wrong <= 3


def test_one_sentence_says_where_a_statement_holds() -> None:
    plan = make_plan(
        claim("d", "c", primary=True, where="at one"),
        claim("c", "a", where="at two"),
        claim("b", "a", where="at three"),
    )
    factors = judge(plan, {})
    untested, empty = conclude(plan, factors)
    assert untested.sentence == "It is not tested yet at one, at two and at three."
    assert empty.sentence == "It has no claims."
    decided = outcomes(plan, MEANS)
    (factor,) = judge(plan, {})
    conclusion = conclude(plan, [replace(factor, claims=tuple(decided))])[0]
    assert conclusion.sentence == "It holds at two and at three; it does not hold at one."
    (refuted,) = outcomes(make_plan(claim("a", "c", primary=True, where="at four")), MEANS)
    assert condition([refuted]) == (
        "It does not hold at four; it holds under none of the conditions decided so far."
    )
    assert [c.claim.where for c in conclusion.claims] == ["at one", "at two", "at three"]


def test_a_study_without_families_is_one_family() -> None:
    plan = load_plan(Path("balance"))
    (conclusion,) = conclude(plan, judge(plan, {}))
    assert conclusion.sentence == ""
    assert len(conclusion.claims) == 8
    assert {c.comparisons[0].alpha for c in conclusion.claims} == {0.05 / 8}


def test_the_spread_of_a_loss_leaves_out_its_trend() -> None:
    assert spread_around_line([1.0, 0.9, 0.8, 0.7]) == pytest.approx(0.0, abs=1e-12)
    assert spread_around_line([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]) == pytest.approx(0.586, abs=1e-3)
    assert spread_around_line([1.0, 0.9, 0.8]) is None
