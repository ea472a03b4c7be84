from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.data.split import exclude_duplicates, make_splits
from mien.errors import DataError


@st.composite
def collections(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    n = draw(st.integers(40, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, 3, n)
    groups = rng.integers(0, draw(st.integers(20, 200)), n)
    count = draw(st.sampled_from([0, 15, 60]))
    subjects = np.array([f"p{i}" if count else "" for i in rng.integers(0, max(count, 1), n)])
    own = draw(st.sampled_from([("",), ("train", "test"), ("train", "validation", "test")]))
    return labels, groups, subjects, rng.choice(own, n, p=_weights(len(own)))


def _weights(n: int) -> list[float]:
    return {1: [1.0], 2: [0.8, 0.2], 3: [0.7, 0.15, 0.15]}[n]


@settings(max_examples=150, deadline=None)
@given(collections(), st.integers(0, 5))
def test_no_group_is_in_two_splits_and_no_subject_is_held_out_in_part(
    collection: tuple[np.ndarray, ...], seed: int
) -> None:
    labels, groups, subjects, own = collection
    try:
        splits = make_splits(labels, groups, subjects, own, fraction=0.2, seed=seed)
    except DataError as error:
        if "too few to hold" in error.message:  # all images hang together
            return
        assert "nothing is left to train on" in error.message
        graded = set(groups[own != "train"].tolist())  # every image has a duplicate there
        assert set(groups[own == "train"].tolist()) <= graded
        return
    graded = splits.splits_n != "excluded"
    for group in np.unique(groups):
        assert len(set(splits.splits_n[graded & (groups == group)].tolist())) <= 1
    if splits.held_out:
        for subject in set(subjects.tolist()) - {""}:
            within = set(splits.splits_n[subjects == subject].tolist())
            assert not {"train", "validation"} <= within
    assert {"train", "validation"} <= set(splits.splits_n.tolist())
    again = make_splits(labels, groups, subjects, own, fraction=0.2, seed=seed)
    assert np.array_equal(splits.splits_n, again.splits_n)


def test_the_hold_out_is_stratified_and_has_the_requested_size() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    n = np.arange(1000)
    none = np.full(1000, "")
    splits = make_splits(labels, n, none, none, fraction=0.15, seed=0).splits_n
    held = np.bincount(labels[splits == "validation"])
    assert held.tolist() == [90, 45, 15]
    other = make_splits(labels, n, none, none, fraction=0.15, seed=1).splits_n
    assert (splits != other).any()


def test_the_sources_own_splits_stay_but_for_duplicates_of_held_out_images() -> None:
    own = np.array(["train", "train", "validation", "train", "test", "validation"])
    groups = np.array([0, 1, 1, 2, 2, 3])
    splits = exclude_duplicates(own, groups)
    expected = ["train", "excluded", "validation", "excluded", "test", "validation"]
    assert splits.tolist() == expected


def test_a_test_set_without_labels_keeps_out_of_the_hold_out() -> None:
    labels = np.array([0, 1] * 20 + [-1] * 10)
    own = np.array(["train"] * 40 + ["test"] * 10)
    splits = make_splits(labels, np.arange(50), np.full(50, ""), own, fraction=0.25)
    assert (splits.splits_n[40:] == "test").all()
    assert (splits.splits_n[:40] == "validation").sum() == 10
    assert splits.rule == (
        "25% of training held out, stratified, by group of duplicates, seed 0; "
        "the source's own test split kept"
    )


def test_unlabelled_training_images_are_excluded() -> None:
    labels = np.array([0, 1] * 20 + [-1])
    none = np.full(41, "")
    splits = make_splits(labels, np.arange(41), none, none)
    assert splits.splits_n[-1] == "excluded"
    assert splits.excluded == 0  # not counted as a duplicate


@pytest.mark.parametrize("fraction", [float("nan"), 1.0, -1.0])
def test_a_fraction_out_of_range(fraction: float) -> None:
    with pytest.raises(DataError, match="out of range, must be at least 0 and below 1"):
        make_splits(
            np.zeros(4, int), np.arange(4), np.full(4, ""), np.full(4, ""), fraction=fraction
        )


def test_one_subject_alone_cannot_be_held_out() -> None:
    with pytest.raises(DataError, match="10 images in 1 independent groups are too few"):
        make_splits(np.arange(10) % 2, np.arange(10), np.full(10, "me"), np.full(10, ""))
