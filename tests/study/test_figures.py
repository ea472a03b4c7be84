from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tests.study.fakes import PLAN

from mien.errors import ConfigError
from mien.study.claims import Claim, Comparison, Family
from mien.study.conclusions import Conclusion
from mien.study.figures import HIGHEST, LOWEST, draw_verdicts, png, svg
from mien.study.plan import load_plan
from mien.study.statistics import Difference, Mean
from mien.study.verdict import ClaimOutcome, ComparisonOutcome, Verdict


def claim(where: str, verdict: Verdict, *found: tuple[float, float, float]) -> ClaimOutcome:
    comparison = Comparison("a", "b", "accuracy", 0.02)
    compared = tuple(
        ComparisonOutcome(comparison, Difference(Mean(*values, 4), 1.0, 0.0, 4), 1.0, verdict)
        for values in found
    )
    words = Claim("A is better than B.", tuple(c.comparison for c in compared), where=where)
    return ClaimOutcome(words, compared, verdict)


CLAIMS = (
    claim("with Adam", "supported", (0.03, 0.01, 0.05)),
    claim("with SGD", "undecided", (0.01, -math.inf, math.inf), (0.0, -0.04, 0.5)),
    claim("", "not supported", (-0.2, -0.3, -0.1)),
)
CONCLUSIONS = [Conclusion(Family("rate", "Other rates are better."), CLAIMS, "")]


def test_the_overview_shows_each_interval_in_smallest_differences_that_matter() -> None:
    lines = [
        (line.get_marker(), tuple(np.round(np.asarray(line.get_xdata(), float), 6).tolist()))
        for line in draw_verdicts(CONCLUSIONS).axes[0].lines
    ]
    # The third claim's interval lies below the range: only an arrow shows it.
    spans = {xs for _, xs in lines if len(xs) == 2 and xs[0] != xs[1]}
    assert spans == {(0.5, 2.5), (-2.0, HIGHEST)}
    marked = {(marker, *xs) for marker, xs in lines if len(xs) == 1}
    assert marked == {("o", 1.5), ("D", 0.5), ("D", 0.0), (">", HIGHEST), ("<", LOWEST)}


def test_the_overview_names_claims_and_differences() -> None:
    figure = draw_verdicts(CONCLUSIONS)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == [
        "Other rates are better.",
        "with Adam", "+3.0",
        "with SGD", "+1.0, +0.0",
        "A is better than B.", "\N{MINUS SIGN}20.0",
        "difference",
    ]  # fmt: skip
    assert png(figure).startswith(b"\x89PNG")
    page = svg(draw_verdicts(CONCLUSIONS))
    assert "with Adam" in page
    assert "var(--good)" in page
    assert "var(--bad)" in page


def test_no_factor_is_named_like_the_overview(tmp_path: Path) -> None:
    text = PLAN.replace('name = "rate"\ntitle', 'name = "verdicts"\ntitle')
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(ConfigError, match="a factor is named 'verdicts'"):
        load_plan(tmp_path / "plan.toml")
