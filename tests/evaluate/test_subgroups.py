"""Metrics by group: right values on small arrays, planted and absent differences, bad input."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from tests.conftest import tiny_info
from tests.evaluate.test_evaluate import Knows

from mien.data.dataset import Dataset
from mien.data.drawn import draw_dataset
from mien.errors import ConfigError, DataError
from mien.evaluate.columns import group_values, grouping_columns
from mien.evaluate.evaluate import Evaluation, evaluate
from mien.evaluate.report import group_table, groups_found, groups_markdown
from mien.evaluate.subgroup_plots import groups_image
from mien.evaluate.subgroups import (
    ColumnGroups,
    GradedRows,
    design_effect,
    group_metrics,
    holm,
    newcombe,
    score_test,
)
from mien.intervals import wilson
from mien.labels import FERPLUS_VOTES
from mien.publish.card import model_card


def rows_of(right_n: np.ndarray, subjects_n: np.ndarray | None = None) -> GradedRows:
    """Images of class 0 and 1 in turn, some predicted wrongly; no duplicates."""
    n = len(right_n)
    y_true_n = np.arange(n) % 2
    subjects = np.full(n, "") if subjects_n is None else subjects_n
    y_pred_n = np.where(right_n, y_true_n, 1 - y_true_n)
    return GradedRows(y_true_n, y_pred_n, ("happy", "sad"), np.arange(n), subjects)


def measure(rows: GradedRows, values_n: np.ndarray, column: str = "age") -> ColumnGroups:
    return group_metrics(rows, values_n, column, "raw")


def test_figures_of_a_small_example() -> None:
    right = np.ones(100, bool)
    right[[0, 2, 4, 5]] = False  # in 'a': three of class 0, one of class 1
    found = measure(rows_of(right), np.repeat(["a", "b"], [40, 60]))
    b, a = found.groups
    assert [b.name, b.n, a.name, a.n] == ["b", 60, "a", 40]
    assert a.accuracy == wilson(36, 40)
    assert a.recalls == (wilson(17, 20), wilson(19, 20))
    assert a.balanced_accuracy.value == pytest.approx(0.9)
    assert a.difference.value == pytest.approx(-0.1)
    assert b.difference.value == pytest.approx(0.1)
    assert b.difference.low == pytest.approx(-a.difference.high)
    assert found.accuracy == wilson(96, 100)
    # Two groups are one comparison: Holm must not double it.
    table = [[36, 4], [60, 0]]
    expected = stats.chi2_contingency(table, correction=True).pvalue
    assert a.p_value == a.p_adjusted == b.p_adjusted == pytest.approx(expected)


def test_interval_and_test_agree_with_published_values() -> None:
    # Newcombe 1998, table II: 56/70 - 48/80, method 10.
    gap = newcombe(wilson(56, 70), wilson(48, 80))
    assert (gap.value, gap.low, gap.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # Newcombe 1998, table II: 10/10 - 0/20.
    assert newcombe(wilson(10, 10), wilson(0, 20)).low == pytest.approx(0.6791, abs=5e-5)
    expected = stats.chi2_contingency([[56, 14], [48, 32]], correction=True).pvalue
    assert score_test(56 / 70, 70, 48 / 80, 80) == pytest.approx(expected)
    assert score_test(1, 40, 1, 50) == 1


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.6]) == [1, 1]
    assert holm([]) == []


def test_dependent_images_count_for_less() -> None:
    right = np.repeat(np.random.default_rng(0).random(50) < 0.8, 10)
    subjects = np.repeat(np.arange(50), 10)
    assert design_effect(right, subjects) == pytest.approx(10 * 50 / 49, rel=0.01)
    assert design_effect(right, np.arange(500)) == pytest.approx(1, abs=0.01)
    assert design_effect(np.ones(500, bool), subjects) == 1
    values = np.repeat(["a", "b"], 250)
    by_age = measure(rows_of(right, subjects.astype(str)), values).groups[0].accuracy
    assert by_age.high - by_age.low > 2 * (wilson(200, 250).high - wilson(200, 250).low)
    # Duplicates count once even where no prediction is wrong.
    rows = replace(rows_of(np.ones(100, bool)), duplicates_n=np.arange(100) // 2)
    assert measure(rows, np.repeat(["a", "b"], 50)).groups[0].accuracy == wilson(25, 25)


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_difference_is_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(["a", "b", "c", "d"], 2000)
    right = rng.random(2000) < np.where(values == "c", 0.7, 0.9)
    found = measure(rows_of(right), values)
    by_name = {group.name: group for group in found.groups}
    assert by_name["c"].differs
    assert by_name["c"].difference.high < 0
    assert "c (-" in groups_found(found)


def test_equal_groups_are_rarely_called_different() -> None:
    rng = np.random.default_rng(0)
    wrong = covered = 0
    for _ in range(300):
        values = rng.choice(["a", "b", "c", "d"], 600, p=[0.6, 0.25, 0.1, 0.05])
        groups = measure(rows_of(rng.random(600) < 0.92), values).groups
        wrong += any(group.differs for group in groups)
        covered += sum(g.difference.low <= 0 <= g.difference.high for g in groups)
    assert wrong / 300 <= 0.08  # 0.05, and two standard errors of 300 trials
    assert 0.93 <= covered / 1200 <= 0.98


def test_few_images_claim_nothing() -> None:
    right = np.r_[np.zeros(29, bool), np.ones(300, bool)]
    found = measure(rows_of(right), np.repeat(["tiny", "a", "b"], [29, 150, 150]))
    tiny = found.groups[-1]
    assert (tiny.name, tiny.too_few, tiny.differs) == ("tiny", True, False)
    assert tiny.p_value is tiny.p_adjusted is None
    head, rows = group_table(found)
    assert rows[-1][head.index("minus the rest, points")] == "too few"
    assert rows[-1][2].startswith("0.000 (0.000 to")
    assert [row[0] for row in rows] == ["a", "b", "tiny"]  # equally large: by name
    # 300 images against 29 others claim as little as 29 against 300.
    assert all(g.too_few for g in measure(rows_of(right), np.repeat(["t", "a"], [29, 300])).groups)


@pytest.fixture(scope="module")
def planted() -> tuple[Dataset, Evaluation]:
    """Drawn faces, of which those with dark skin are misclassified more often."""
    data = draw_dataset(1500, seed=0)
    held = data.split("validation")
    dark = held.columns["skin_tone"] == "dark"
    wrong = np.random.default_rng(0).random(len(held)) < np.where(dark, 0.4, 0.1)
    answers = np.where(wrong, (held.labels_n + 1) % 3, held.labels_n)
    model = Knows(answers, data.label_names)
    return data, evaluate(model, data, "validation", by=["skin_tone", "Lighting", "lighting"])


def test_drawn_faces_by_skin_tone_and_lighting(planted: tuple[Dataset, Evaluation]) -> None:
    data, evaluation = planted
    values = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert list(values["groups"]) == ["skin_tone", "lighting"]
    tones = {group["value"]: group for group in values["groups"]["skin_tone"]["values"]}
    held = data.split("validation")
    assert {name: group["n"] for name, group in tones.items()} == {
        name: int((held.columns["skin_tone"] == name).sum()) for name in tones
    }
    assert tones["dark"]["differs"]
    assert tones["dark"]["difference"]["value"] < -0.2
    assert tones["dark"]["p_holm"] < 0.001
    assert set(tones["dark"]["recall"]) == {"happy", "neutral", "sad"}
    assert not any(group["differs"] for group in values["groups"]["lighting"]["values"])
    assert "no difference was found" in groups_found(evaluation.groups[1])


def test_without_columns_there_are_no_groups(planted: tuple[Dataset, Evaluation]) -> None:
    evaluation = replace(planted[1], groups=())
    assert "groups" not in evaluation.to_dict()
    card = model_card(tiny_info(), evaluation, "mien export")
    assert "## Groups" not in card
    assert "**has not been measured**" in card


def test_card_and_plot_show_the_groups(planted: tuple[Dataset, Evaluation]) -> None:
    card = model_card(tiny_info(), planted[1], "mien export")
    assert "## Groups" in card
    assert groups_markdown(planted[1].groups[0]) in card
    assert "was measured by skin_tone, lighting only" in card
    with Image.open(io.BytesIO(groups_image(planted[1]))) as plot:
        assert plot.width > 1000
        pixels = np.asarray(plot.convert("RGB")).astype(int)
    orange = (pixels[..., 0] > 190) & (pixels[..., 2] < 90)
    assert orange.sum() > 100  # the planted difference
    calm = replace(planted[1], groups=planted[1].groups[1:])
    with Image.open(io.BytesIO(groups_image(calm))) as plot:
        pixels = np.asarray(plot.convert("RGB")).astype(int)
    assert not ((pixels[..., 0] > 190) & (pixels[..., 2] < 90)).any()


def test_missing_values_and_the_consensus(drawn: Dataset) -> None:
    sex = np.where(np.arange(len(drawn)) % 3 == 0, "", "f")
    votes = np.zeros((len(drawn), 10), np.float32)
    for row, label in enumerate(drawn.labels_n):
        votes[row, FERPLUS_VOTES.index(drawn.label_names[label])] = 9
    first = np.flatnonzero(drawn.splits_n == "validation")[0]
    votes[first] = 1  # no majority, so it has no consensus label
    data = replace(drawn, columns={"sex": sex}, votes_nk=votes, vote_names=FERPLUS_VOTES)
    held = data.split("validation")
    (found,) = evaluate(
        Knows(held.labels_n, data.label_names), data, "validation", by=["sex"]
    ).groups
    assert (found.ground_truth, found.n) == ("consensus", len(held) - 1)
    assert {group.name for group in found.groups} == {"f", "not given"}
    assert sum(group.n for group in found.groups) == found.n


def test_wrong_columns(drawn: Dataset) -> None:
    model = Knows(drawn.split("validation").labels_n, drawn.label_names)
    with pytest.raises(ConfigError, match="by: drawn has no column 'skin_tones'") as caught:
        evaluate(model, drawn, "validation", by=["skin_tones"])
    assert caught.value.hint == (
        "did you mean 'skin_tone'? the columns are: skin_tone, lighting, subject, source"
    )
    assert model.at == 0  # nothing was classified before the error
    with pytest.raises(DataError, match="column 'source' has 240 values; at most 50"):
        group_values(drawn, "source")
    with pytest.raises(DataError, match="column 'source_split' has no values in drawn"):
        group_values(drawn, "source_split")
    same = replace(drawn, columns={"sex": np.full(len(drawn), "f")})
    with pytest.raises(DataError, match="column 'sex' has the single value 'f'"):
        group_values(same, "sex")
    fifty = replace(drawn, columns={"age": (np.arange(len(drawn)) % 50).astype(str)})
    assert len(set(group_values(fifty, "age").tolist())) == 50
    assert list(grouping_columns(fifty)) == ["age", "subject", "source"]
