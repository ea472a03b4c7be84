from __future__ import annotations

import pytest

from mien.errors import ConfigError
from mien.labels import EIGHT, FERPLUS_VOTES, SEVEN, THREE, canonical, label_set


def test_sets_agree_with_each_other() -> None:
    assert EIGHT[:3] == THREE
    assert set(SEVEN) | {"contempt"} == set(EIGHT)
    assert set(FERPLUS_VOTES) == set(EIGHT) | {"unknown", "not_face"}


@pytest.mark.parametrize(
    ("name", "ours"),
    [("Happiness", "happy"), (" JOY ", "happy"), ("NF", "not_face"), ("My Class", "my_class")],
)
def test_canonical(name: str, ours: str) -> None:
    assert canonical(name) == ours


def test_label_set_by_name_and_spelt_out() -> None:
    assert label_set("three") == ("happy", "neutral", "sad")
    assert label_set("sad, Happiness") == ("sad", "happy")


@pytest.mark.parametrize("name", ["tree", "happy,", "happy,joy"])
def test_label_set_mistakes(name: str) -> None:
    with pytest.raises(ConfigError):
        label_set(name)
