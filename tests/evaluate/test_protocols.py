"""The literature's protocols, on votes and predictions whose figures are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.data.dataset import Dataset
from mien.errors import DataError
from mien.evaluate.protocols import RULES, ferplus_targets, score, seen_in_training
from mien.labels import EIGHT, FERPLUS_VOTES

# votes, then the label under majority, plurality and probability
CASES = [
    ({"happy": 10}, "happy", "happy", "happy"),
    ({"sad": 5, "neutral": 5}, None, None, "neutral"),  # exactly half is no majority
    ({"sad": 5, "neutral": 4, "fear": 1}, "sad", "sad", "sad"),  # 5 of 9 once fear is an outlier
    ({"sad": 4, "neutral": 3, "fear": 3}, None, "sad", "sad"),
    ({"unknown": 6, "happy": 4}, None, None, None),
    ({"not_face": 10}, None, None, None),
    ({"happy": 6, "unknown": 4}, "happy", "happy", "happy"),
    ({"happy": 4, "unknown": 4, "sad": 2}, None, None, None),  # happy holds less than half
    ({"happy": 4, "sad": 3, "unknown": 3}, None, "happy", "happy"),
    ({"happy": 2, "sad": 2, "fear": 2, "angry": 2}, None, None, None),  # four are too many
    ({"contempt": 6, "neutral": 4}, "contempt", "contempt", "contempt"),
    (dict.fromkeys(FERPLUS_VOTES, 1), None, None, None),  # all outliers
]


def votes_of(cases: list[dict[str, int]]) -> np.ndarray:
    return np.array([[case.get(name, 0) for name in FERPLUS_VOTES] for case in cases], np.float32)


@pytest.mark.parametrize("place, rule", list(enumerate(RULES, start=1)))
def test_rules_by_hand(place: int, rule: str) -> None:
    found = RULES[rule](votes_of([case[0] for case in CASES]))
    assert [EIGHT[k] if k >= 0 else None for k in found] == [case[place] for case in CASES]


def test_votes_in_another_order_and_lacking(drawn: Dataset) -> None:
    votes = votes_of([{"sad": 10}, {"unknown": 10}])
    part = replace(
        drawn.subset(np.arange(2)), votes_nk=votes[:, ::-1], vote_names=FERPLUS_VOTES[::-1]
    )
    assert ferplus_targets(part, "majority").tolist() == [EIGHT.index("sad"), -1]
    with pytest.raises(DataError, match="no votes for unknown, not_face"):
        ferplus_targets(
            replace(part, votes_nk=votes[:, :8], vote_names=FERPLUS_VOTES[:8]), "majority"
        )


def test_score_by_hand() -> None:
    y_true_n = np.array([0] * 20 + [1] * 20 + [-1] * 5)
    y_pred_n = np.array([0] * 20 + [1] * 10 + [0] * 10 + [1] * 5)
    found = score(y_true_n, np.eye(2, dtype=np.float32)[y_pred_n], np.arange(45), ("a", "b"))
    assert found.n == 40
    assert found.accuracy.value == found.balanced_accuracy.value == 0.75
    assert found.accuracy.low < 0.75 < found.accuracy.high
    assert [(k.n, k.recall.value) for k in found.classes] == [(20, 1.0), (20, 0.5)]
    # F1: 2*20/(30+20) and 2*10/(10+20)
    assert found.macro_f1.value == pytest.approx((0.8 + 2 / 3) / 2)
    with pytest.raises(DataError, match="none of 45 images"):
        score(np.full(45, -1), np.zeros((45, 2), np.float32), np.arange(45), ("a", "b"))


def test_duplicates_count_that_were_excluded_from_training(drawn: Dataset) -> None:
    part = replace(
        drawn.subset(np.arange(4)),
        source_splits_n=np.array(["train", "validation", "validation", "train"]),
        splits_n=np.array(["excluded", "validation", "validation", "train"]),
        groups_n=np.array([7, 7, 8, 9]),
    )
    assert seen_in_training(part, part.split("validation")).tolist() == [True, False]
