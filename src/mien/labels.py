"""Names of expressions: label sets of models, and other spellings in datasets."""

from __future__ import annotations

from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING

from mien.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

THREE = ("happy", "neutral", "sad")
SEVEN = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""The seven classes of FER2013, in the order of its label numbers 0 to 6."""
EIGHT = ("happy", "neutral", "sad", "angry", "surprise", "fear", "disgust", "contempt")
"""The eight classes of FERPlus; the first three are THREE, in its order."""

FERPLUS_VOTES = (
    "neutral",
    "happy",
    "surprise",
    "sad",
    "angry",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "not_face",
)
"""The ten columns of FERPlus's votes in our spelling, in the order of its file."""

LABEL_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"three": THREE, "seven": SEVEN, "eight": EIGHT}
)

_SPELLINGS = MappingProxyType(
    {
        "happiness": "happy",
        "joy": "happy",
        "smile": "happy",
        "sadness": "sad",
        "anger": "angry",
        "disgusted": "disgust",
        "fearful": "fear",
        "afraid": "fear",
        "surprised": "surprise",
        "suprise": "surprise",  # in some versions of FER2013
        "nf": "not_face",
    }
)


def canonical(name: str) -> str:
    """Return our spelling of an expression's name: 'Happiness' and 'JOY' are 'happy'.

    An unknown name is returned in lower case, since users may have their own classes.
    """
    key = name.strip().lower().replace(" ", "_")
    return _SPELLINGS.get(key, key)


def class_name(text: str, where: str) -> str:
    """Return a class in our spelling, '' for none.

    Args:
        text: name as the source spells it.
        where: file and line, or folder, for the message.

    Raises:
        DataError: a misspelt expression. Users may have their own classes, but 'hapy' would
            silently become a class beside 'happy'.
    """
    if not text.strip():
        return ""
    name = canonical(text)
    # A misspelt class would become one of its own, with a handful of images.
    near = [] if name in EIGHT else get_close_matches(name, EIGHT, n=1, cutoff=0.85)
    if near and name.isalpha():
        raise DataError(
            f"{where}: unknown label {text.strip()!r}",
            hint=f"did you mean {near[0]!r}? if it is a class of its own, rename it",
        )
    return name


def label_set(name: str) -> tuple[str, ...]:
    """Return the labels of a set by its name ('three'), or of a list with commas ('happy,sad').

    Raises:
        ConfigError: the name is unknown, or fewer than two different labels are listed.
    """
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    if "," not in name:
        raise ConfigError(
            f"no label set is called {name!r}",
            hint=did_you_mean(name, LABEL_SETS)
            + f"allowed: {', '.join(LABEL_SETS)}, or a list such as happy,sad",
        )
    labels = tuple(canonical(part) for part in name.split(",") if part.strip())
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ConfigError(
            f"the label list {name!r} needs at least two different labels",
            hint="for example: happy,neutral,sad",
        )
    return labels
