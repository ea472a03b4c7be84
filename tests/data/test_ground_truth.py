from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.data.ground_truth import consensus_targets, label_targets
from mien.data.sources.arrays import read_arrays
from mien.labels import THREE

NAMES = ("neutral", "happy", "sad", "angry", "unknown")


@pytest.mark.parametrize(
    ("votes", "right"),
    [
        ([0, 10, 0, 0, 0], 0),
        ([5, 4, 0, 0, 1], 1),  # exactly half
        ([4, 3, 0, 3, 0], -1),  # a plurality, but not half of all votes
        ([5, 5, 0, 0, 0], -1),  # a tie
        ([0, 0, 5, 5, 0], 2),  # a tie only with a label that is not an answer
        ([0, 0, 0, 9, 1], -1),
        ([0, 0, 0, 0, 0], -1),
    ],
)
def test_consensus_by_hand(votes: list[int], right: int) -> None:
    counts = np.array([votes], np.float32)
    assert consensus_targets(counts, NAMES, THREE).tolist() == [right]


def test_raw_targets_map_names() -> None:
    labels = np.array([0, 1, 2, -1])
    assert label_targets(labels, ("sad", "angry", "happy"), THREE).tolist() == [2, -1, 0, -1]


@pytest.mark.real_data
def test_fer2013_targets_have_their_known_sizes(fer2013: Path) -> None:
    data = read_arrays(fer2013, 48)
    validation = data.source_splits_n == "validation"
    assert data.votes_nk is not None
    raw = label_targets(data.labels_n, data.label_names, THREE)[validation]
    consensus = consensus_targets(data.votes_nk, data.vote_names, THREE)[validation]
    assert (raw >= 0).sum() == 2142
    assert np.bincount(consensus[consensus >= 0]).tolist() == [871, 1181, 347]
