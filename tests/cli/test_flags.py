"""Library errors name Python arguments; the command line shows the flags that were typed."""

from __future__ import annotations

import pytest

from mien.cli.application import command_line, commands
from mien.cli.flags import flags_of, name_flags, with_flags
from mien.errors import ConfigError


def flags(path: str) -> dict[str, str]:
    [command] = [command for name, command in commands(command_line()) if name == path]
    return flags_of(command.params)


@pytest.mark.parametrize(
    ("command", "text", "shown"),
    [
        ("video", "every: 0 is out of range, 1 or more", "--every: 0 is out of range, 1 or more"),
        ("video", "end_s: 2 is not after start_s", "--end: 2 is not after --start"),
        ("video", "smooth_s must be 0 or more", "--smooth-seconds must be 0 or more"),
        ("video", "every=1 reads all frames", "--every 1 reads all frames"),
        ("video", "set detect_every=1.", "set --detect-every 1."),
        ("live", "min_confidence must be 0 to 1", "--min-confidence must be 0 to 1"),
        ("data import", "force=True replaces it", "--force replaces it"),
        ("data import", "form: 'list' is unknown", "--format: 'list' is unknown"),
        ("data draw", "count: 3 is out of range", "--count: 3 is out of range"),
        ("serve", "limits.rate: -1 is out of range", "--max-rate: -1 is out of range"),
        ("serve", "keep_minutes: 0 is out of range", "--max-keep-minutes: 0 is out of range"),
        ("serve", "origins must start with http://", "--origin must start with http://"),
        ("train", "fit.epochs=2 is too few", "--set fit.epochs=2 is too few"),
        ("train", "set fit.epochs=2, or wait", "give --set fit.epochs=2, or wait"),
        ("data draw", "set force to replace it", "set --force to replace it"),
        ("data import", "set faces to 'whole'", "set --faces to 'whole'"),
        ("video", "read it without `resume`", "read it without --resume"),
        ("video", "give size, such as 64x48, and rate, such as 30",
         "give --size, such as 64x48, and --rate, such as 30"),
        ("live", "name it: detector opencv=FILE.onnx", "name it: --detector opencv=FILE.onnx"),
        ("export", "half=True needs fp16 weights", "--half needs fp16 weights"),
    ],
)  # fmt: skip
def test_an_argument_becomes_the_flag_of_the_running_command(
    command: str, text: str, shown: str
) -> None:
    assert with_flags(text, flags(command)) == shown
    assert with_flags(shown, flags(command)) == shown  # a flag stays a flag


@pytest.mark.parametrize(
    "text",
    [
        "cannot read every frame of clip.mp4",  # a word in a sentence
        "/data/min_confidence/a.jpg: not an image",
        "min_confidence.txt is no image",
        "rate of change=3",
        "there is no dataset in size",
        "data show: nothing",
        "use a model that mien export wrote",
        "leave the camera out, or set the size to one",
    ],
)
def test_words_that_are_no_arguments_stay(text: str) -> None:
    assert with_flags(text, flags("live")) == text


def test_other_commands_keep_python_s_names() -> None:
    assert with_flags("every: 0 is out of range", flags("train")) == "every: 0 is out of range"
    assert with_flags("use fit.epochs=2", flags("serve")) == "use fit.epochs=2"
    assert with_flags("out: is a file", {}) == "out: is a file"


def test_message_and_hint_are_translated() -> None:
    error = ConfigError("fps: 0 is out of range", hint="fps=10 is usual")
    name_flags(error, flags("video"))
    assert (error.message, error.hint) == ("--fps: 0 is out of range", "--fps 10 is usual")


def test_hidden_options_and_positionals_have_no_flag() -> None:
    found = flags("train")
    assert found["data"] == "--data"
    assert "epochs" not in found  # accepted only to be refused
    assert "recipe" not in found
    assert flags("models")["speed"] == "--speed"
