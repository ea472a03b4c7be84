"""Agreement: coefficients against published examples and scikit-learn, events by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score
from tests.conftest import run_mien

from mien.codings.coding import MISSING, Segment, Tier
from mien.codings.units import Unit, match_codings
from mien.errors import ConfigError, DataError
from mien.evaluate.agreement import measure_agreement
from mien.evaluate.coefficients import (
    cohen_kappa,
    coincidences,
    fleiss_kappa,
    krippendorff_alpha,
    rater_pairs,
    specific_agreement,
)
from mien.evaluate.events import match

X = MISSING
KRIPPENDORFF = (
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C.
    (1, 2, 3, 3, 2, 1, 4, 1, 2, X, X, X),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, X, 3),
    (X, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, X),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, X),
)
FLEISS = (
    # The example of Fleiss 1971 as it is usually printed: 14 raters, 10 subjects, 5 categories.
    (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
)  # fmt: skip


def test_krippendorffs_own_example() -> None:
    numbers = np.array(KRIPPENDORFF).T
    table = coincidences(np.where(numbers == X, X, numbers - 1), 5, np.zeros(12, np.int64), 1)
    assert krippendorff_alpha(table[0]) == pytest.approx(0.743, abs=5e-4)


def test_fleiss_example() -> None:
    numbers = np.array([np.repeat(np.arange(5), counts) for counts in FLEISS])
    sums = rater_pairs(numbers, 5, np.zeros(10, np.int64), 1)
    assert fleiss_kappa(sums[0]) == pytest.approx(0.210, abs=5e-4)


def test_cohens_kappa_is_scikit_learns(rng: np.random.Generator) -> None:
    first = rng.integers(0, 3, 200)
    second = np.where(rng.random(200) < 0.7, first, rng.integers(0, 3, 200))
    table = np.zeros((3, 3))
    np.add.at(table, (first, second), 1)
    assert cohen_kappa(table) == pytest.approx(cohen_kappa_score(first, second))


def test_what_is_not_defined() -> None:
    one_label = np.array([[5.0, 0.0], [0.0, 0.0]])
    assert math.isnan(cohen_kappa(one_label))
    assert math.isnan(krippendorff_alpha(one_label))
    assert math.isnan(specific_agreement(one_label, 1))
    assert specific_agreement(np.array([[3.0, 1.0], [2.0, 4.0]]), 0) == pytest.approx(6 / 9)


def segments(*edges: tuple[float, float]) -> list[Segment]:
    return [Segment(start, end, "happy") for start, end in edges]


def test_events_match_once_and_within_the_tolerance() -> None:
    first = segments((0, 1), (2, 3), (5, 6))
    assert match(first, segments((0.4, 1.4), (2.6, 3)), 0.5) == first[:1]
    assert match(first, segments((0.5, 1.5)), 0.5) == first[:1]
    assert match(first, segments((0, 1.6)), 0.5) == []
    # One long event is no partner of two short ones.
    assert match(segments((0, 1), (1.1, 2)), segments((0, 2)), 0.5) == []


def test_greedy_matching_is_the_largest(rng: np.random.Generator) -> None:
    from mien.video.assign import assign

    for _ in range(200):
        first, second = (
            segments(*np.cumsum(rng.uniform(0.05, 0.6, 12)).reshape(-1, 2)) for _ in range(2)
        )
        close = np.array(
            [
                [
                    abs(a.start_s - b.start_s) <= 0.3 and abs(a.end_s - b.end_s) <= 0.3
                    for b in second
                ]
                for a in first
            ]
        )
        best = sum(close[i, j] for i, j in assign(-close.astype(np.float64)))
        assert len(match(first, second, 0.3)) == best


def tier(*parts: tuple[float, float, str]) -> Tier:
    return Tier("t", tuple(Segment(*part) for part in parts))


def test_the_figures_of_two_coders() -> None:
    unit = Unit("v", (
        tier((0, 40, "neutral"), (40, 60, "happy"), (60, 100, "neutral")),
        tier((0, 45, "neutral"), (45, 60, "happy"), (60, 100, "neutral")),
    ))  # fmt: skip
    found = measure_agreement(("a", "b"), [unit], step_s=0.1, tolerance_s=1.0)
    (pair,) = found.pairs
    assert found.seconds == pytest.approx(100)
    assert pair.accuracy.value == pytest.approx(0.95)
    assert pair.accuracy.low < 0.95 <= pair.accuracy.high
    assert np.allclose(pair.confusion_kk, [[15, 5], [0, 80]])
    happy, neutral = pair.labels
    assert happy.specific.value == pytest.approx(2 * 15 / 35)
    assert (happy.events, happy.event_f1.value) == ((1, 1), 0.0)  # starts 5 s apart
    assert (neutral.events, neutral.event_f1.value) == ((2, 2), 0.5)
    assert found.clusters == ("blocks of 30 s", 4)
    assert found.to_dict()["pairs"][0]["cohen_kappa"]["value"] == pytest.approx(
        pair.kappa.value, abs=1e-6
    )


def test_identical_codings_agree_fully_and_uncoded_time_does_not_count() -> None:
    coded = tier((0, 10, "happy"), (20, 90, "sad"))
    found = measure_agreement(("a", "b", "c"), [Unit("v", (coded, coded, coded))], step_s=0.5)
    assert found.alpha.value == found.fleiss.value == 1
    assert all(pair.event_f1.value == pair.kappa.value == 1 for pair in found.pairs)
    assert found.pairs[0].seconds == pytest.approx(80)
    assert found.coded == pytest.approx((80 / 90,) * 3)


def test_participants_are_resampled_where_there_are_enough(rng: np.random.Generator) -> None:
    units = []
    for number in range(8):
        labels = rng.choice(["happy", "sad"], 20)
        others = np.where(rng.random(20) < 0.8, labels, "happy")
        units.append(
            Unit(
                f"p{number}",
                tuple(
                    tier(*((i, i + 1, str(n)) for i, n in enumerate(of))) for of in (labels, others)
                ),
            )
        )
    found = measure_agreement(("a", "b"), units, step_s=0.5)
    assert found.clusters == ("participants", 8)
    assert found.videos == 8
    of_two = [Unit(unit.name, unit.tiers, f"video {n % 2}") for n, unit in enumerate(units)]
    tiers = measure_agreement(("a", "b"), of_two, step_s=0.5)
    assert tiers.videos == 2
    assert tiers.clusters[0] == "blocks of 30 s", "tiers of one video are no participants"
    halves = [Unit(unit.name, unit.tiers, f"video {n // 2}") for n, unit in enumerate(units)]
    more = [*halves, Unit("p8", units[0].tiers, "video 4")]
    assert measure_agreement(("a", "b"), more, step_s=0.5).clusters == ("participants", 5)
    by_unit = [
        measure_agreement(("a", "b"), [u], step_s=0.5).pairs[0].accuracy.value for u in units
    ]
    accuracy = found.pairs[0].accuracy
    assert accuracy.value == pytest.approx(np.mean(by_unit))
    # Of means of 8 equal participants, the bootstrap's spread is their standard error.
    assert accuracy.high - accuracy.low == pytest.approx(
        2 * 1.96 * np.std(by_unit) / math.sqrt(8), rel=0.25
    )


def test_warnings() -> None:
    unit = Unit("v", (tier((0, 5, "neutral")), tier((0, 4.9, "neutral"), (4.9, 5, "sad"))))
    found = measure_agreement(
        ("a", "b"), [unit, Unit("w", (tier((0, 1, "sad")), tier((2, 3, "sad"))))]
    )
    text = "\n".join(found.warnings)
    assert "w: no time that all coders coded" in text
    assert "no interval" in text
    assert "of the time is 'neutral'" in text
    assert "'sad' is used by b only" in text
    assert math.isnan(found.pairs[0].accuracy.low)
    with pytest.raises(DataError, match="no time in common: 0 to 1 s, 2 to 3 s"):
        measure_agreement(("a", "b"), [Unit("w", (tier((0, 1, "sad")), tier((2, 3, "sad"))))])


HEAD = "start,end,label\n"


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two coders with two videos in common and one of their own each."""
    for coder, shift in (("anna", 0.0), ("ben", 0.2)):
        folder = tmp_path / coder
        folder.mkdir()
        for video in ("p1", "p2", coder):
            lines = f"{1 + shift},3,happy\n{6 + shift},9,sad\n"
            (folder / f"{video}.csv").write_text(HEAD + lines, encoding="utf-8")
    return [tmp_path / "anna", tmp_path / "ben"]


def test_folders_are_matched_by_name(folders: list[Path]) -> None:
    matched = match_codings(folders, gap="neutral")
    assert matched.coders == ("anna", "ben")
    assert [unit.name for unit in matched.units] == ["p1", "p2"]
    assert len(matched.unmatched) == 2
    (first, second) = matched.units[0].tiers
    assert [s.label for s in first.segments] == ["happy", "neutral", "sad"]
    assert second.segments[0] == Segment(1.0, 1.2, "neutral")


def test_tiers_and_files_that_do_not_match(tmp_path: Path, folders: list[Path]) -> None:
    two = tmp_path / "two.csv"
    two.write_text("tier,start,end,label\na,0,1,sad\nb,0,1,sad\n", encoding="utf-8")
    one = folders[0] / "p1.csv"
    with pytest.raises(DataError, match="no tier has the same name"):
        match_codings([two, one])
    with pytest.raises(DataError, match="has no tier 'c'") as caught:
        match_codings([two, one], tiers=["c", "coding"])
    assert "'a', 'b'" in caught.value.hint
    assert match_codings([two, one], tiers=["a", "coding"]).units[0].name == "two"
    with pytest.raises(ConfigError, match="two codings or more"):
        match_codings([one])
    with pytest.raises(ConfigError, match=r"p1\.csv is given twice"):
        match_codings([one, one])
    with pytest.raises(ConfigError, match="is no folder"):
        match_codings([folders[0], one])
    with pytest.raises(ConfigError, match="2 names for 3 coders"):
        match_codings([one, two, folders[1] / "p1.csv"], tiers=["a", "b"])


def test_the_command(
    folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    page = tmp_path / "agreement.html"
    code, out, err = run_mien(capsys, monkeypatch, "agree", *folders, "--report", page)
    assert code == 0, err
    assert "Cohen's kappa" in out
    assert "anna / ben" in out
    assert "p1" in page.read_text(encoding="utf-8")
    code, out, _ = run_mien(capsys, monkeypatch, "agree", *folders, "--json", "--tolerance", "0.1")
    # The first event is cut where the second coder begins; the other starts 0.2 s apart.
    assert json.loads(out)["pairs"][0]["event_f1"]["value"] == 0.5
    code, out, err = run_mien(capsys, monkeypatch, "agree", *folders, "--rename", "happy")
    assert (code, out) == (2, "")
    assert "--rename: 'happy' is not OLD=NEW" in err
