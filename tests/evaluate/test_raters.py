"""Human raters against the majority of the others, on votes whose answer is known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import ConfigError, DataError
from mien.evaluate.evaluate import evaluate
from mien.evaluate.raters import rater_agreement
from mien.labels import FERPLUS_VOTES, THREE

HAPPY, NEUTRAL, SAD, ANGRY = (FERPLUS_VOTES.index(k) for k in (*THREE, "angry"))


def with_votes(drawn: Dataset, votes: np.ndarray) -> Dataset:
    part = drawn.subset(np.arange(len(votes)))
    return replace(part, votes_nk=votes.astype(np.float32), vote_names=FERPLUS_VOTES)


def votes_of(n: int, *counts: tuple[int, int]) -> np.ndarray:
    votes = np.zeros((n, len(FERPLUS_VOTES)), int)
    for column, count in counts:
        votes[:, column] = count
    return votes


def test_raters_who_agree_are_always_right(drawn: Dataset) -> None:
    votes = np.concatenate([votes_of(20, (k, 10)) for k in (HAPPY, NEUTRAL, SAD)])
    for found in rater_agreement(with_votes(drawn, votes), THREE):
        assert (found.n, found.n_by_label) == (60, (20, 20, 20))
        assert (found.accuracy.value, found.balanced_accuracy.value) == (1, 1)
        assert [recall.value for recall in found.recall] == [1, 1, 1]
        assert found.accuracy.low < 1  # Wilson: a bootstrap would collapse to a point


def test_one_dissenting_rater_by_hand(drawn: Dataset) -> None:
    # 9 of 10 say happy. Whoever is taken out, the others have a majority for happy; the one who
    # is taken out says happy in 9 of 10 cases. Of two, both say happy in 8 of 10 cases, else they
    # are tied: 0.8 + 0.2 / 2.
    votes = np.concatenate(
        [votes_of(50, (HAPPY, 9), (SAD, 1)), votes_of(50, (NEUTRAL, 10)), votes_of(50, (SAD, 10))]
    )
    one, two, three = rater_agreement(
        with_votes(drawn, votes), THREE, pooled=(1, 2, 3), repeats=400
    )
    assert one.recall[0].value == pytest.approx(0.9, abs=0.01)
    assert two.recall[0].value == pytest.approx(0.9, abs=0.01)
    assert three.recall[0].value == 1  # two of three say happy
    assert one.accuracy.value == pytest.approx((0.9 + 1 + 1) / 3, abs=0.005)
    assert one.balanced_accuracy.value == pytest.approx((0.9 + 1 + 1) / 3, abs=0.005)
    assert one.recall[1].value == one.recall[2].value == 1


def test_other_expressions_are_wrong_and_ties_are_left_out(drawn: Dataset) -> None:
    # 6 of 10 say happy, 4 angry: the consensus of the other nine is happy in any case.
    angry = votes_of(100, (HAPPY, 6), (ANGRY, 4))
    (found,) = rater_agreement(with_votes(drawn, angry), THREE, pooled=(1,), repeats=200)
    assert found.n == 100
    assert found.accuracy.value == pytest.approx(0.6, abs=0.01)
    assert not found.recall[1].is_defined
    assert not found.balanced_accuracy.is_defined  # neutral and sad have no image
    # 5 against 5: without one of them the others are 5 to 4, so it is always the minority's rater.
    tied = votes_of(100, (HAPPY, 5), (SAD, 5))
    (found,) = rater_agreement(with_votes(drawn, tied), THREE, pooled=(1,), repeats=50)
    assert (found.n, found.accuracy.value) == (100, 0)
    with pytest.raises(DataError, match="no image of drawn has more than 2 raters"):
        rater_agreement(with_votes(drawn, votes_of(10, (HAPPY, 2))), THREE, pooled=(2,))


def test_a_model_is_measured_against_the_same_consensus(drawn: Dataset) -> None:
    votes = np.concatenate([votes_of(40, (HAPPY, 8), (SAD, 2)), votes_of(60, (NEUTRAL, 10)),
                            votes_of(30, (SAD, 10))])  # fmt: skip
    y_pred = np.repeat([0, 1, 1], [40, 60, 30])
    (found,) = rater_agreement(with_votes(drawn, votes), THREE, pooled=(1,), y_pred_n=y_pred)
    assert found.model_accuracy is not None
    assert found.model_balanced_accuracy is not None
    assert found.model_accuracy.value == pytest.approx(100 / 130)
    assert found.model_balanced_accuracy.value == pytest.approx(2 / 3)
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["model"]["accuracy"]["value"] == pytest.approx(100 / 130, abs=1e-6)
    assert set(values["per_class"]) == set(THREE)


def test_the_same_seed_gives_the_same_figures(drawn: Dataset) -> None:
    rng = np.random.default_rng(1)
    split = with_votes(drawn, rng.multinomial(10, rng.dirichlet(np.full(10, 0.1), size=150)))
    first, again, other = (
        rater_agreement(split, THREE, pooled=(1, 3), repeats=5, seed=seed) for seed in (0, 0, 1)
    )
    assert json.dumps([a.to_dict() for a in first]) == json.dumps([a.to_dict() for a in again])
    assert first[0].accuracy.value != other[0].accuracy.value


def test_mistakes(drawn: Dataset) -> None:
    split = with_votes(drawn, votes_of(20, (HAPPY, 10)))
    with pytest.raises(ConfigError, match="pooled and repeats must be at least 1"):
        rater_agreement(split, THREE, pooled=(0,))
    with pytest.raises(DataError, match="drawn has no votes of single raters"):
        rater_agreement(drawn, THREE)
    fractions = replace(split, votes_nk=np.full((20, 10), 0.1, np.float32))
    with pytest.raises(DataError, match="not whole numbers of raters"):
        rater_agreement(fractions, THREE)


def test_an_evaluation_with_raters_classifies_once(drawn: Dataset) -> None:
    class Counting:
        name, labels, input_size = "m", THREE, drawn.images_nhw.shape[1]

        def __init__(self) -> None:
            self.seen = 0

        def logits(self, images_nhw: np.ndarray) -> np.ndarray:
            self.seen += len(images_nhw)
            return np.tile(np.array([2, 1, 0], np.float32), (len(images_nhw), 1))

    votes = np.concatenate([votes_of(40, (k, 10)) for k in (HAPPY, NEUTRAL, SAD)])
    part = with_votes(drawn, votes)
    part = replace(part, splits_n=np.full(len(part), "validation"))
    scorer = Counting()
    found = evaluate(scorer, part, "validation", raters=True)
    assert scorer.seen == len(part)
    expected = rater_agreement(part, THREE, y_pred_n=np.zeros(len(part), np.int64))
    assert found.raters == expected
    assert found.to_dict()["raters"] == [one.to_dict() for one in expected]
    assert "raters" not in evaluate(scorer, part, "validation").to_dict()
