from __future__ import annotations

import pickle

import pytest

from mien import errors
from mien.errors import ConfigError, MienError, MissingExtraError, counted, did_you_mean
from mien.installation import install_command


def test_every_error_stands_in_the_tree_that_the_module_draws() -> None:
    kinds = [v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, MienError)]
    assert len(kinds) == 11
    for kind in kinds:
        assert kind.__name__ in (errors.__doc__ or "")


def test_message_and_hint_survive_another_process() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("what", hint="do")))  # noqa: S301
    assert (type(error), error.message, error.hint, str(error)) == (
        ConfigError, "what", "do", "what",
    )  # fmt: skip


@pytest.mark.parametrize(("word", "hint"), [("optimiser", "did you mean 'optimizer'? "), ("q", "")])
def test_did_you_mean(word: str, hint: str) -> None:
    assert did_you_mean(word, ["optimizer", "network"]) == hint


def test_missing_extra_says_what_to_install() -> None:
    error = MissingExtraError.of("train", "mien train")
    assert error.message == "mien train needs packages that are not installed"
    assert error.hint == f"install them: {install_command('train')}"


def test_numbers_agree_with_their_nouns() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2, 1200)] == [
        "0 frames", "1 frame", "2 frames", "1,200 frames",
    ]  # fmt: skip
    assert [counted(n, "person", "people") for n in (1, 2)] == ["1 person", "2 people"]
