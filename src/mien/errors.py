"""The exceptions of mien.

MienError
├── ConfigError         an invalid recipe, argument or command line
├── DataError           labelled data that cannot be read, joined or trained on
├── ModelFileError      an ONNX file or checkpoint that is missing, damaged or unsuitable
├── SourceError         an image or folder that cannot be read
├── RunFolderError      a run folder that is missing, incomplete or not one of mien's
├── TrainingError       a training that cannot continue, for example because its loss is NaN
├── ServerError         a mien server that does not answer or refuses a request
├── ClusterError        a cluster that cannot be reached, or whose workers cannot be used
├── ResourceError       not enough memory, or too many threads
└── MissingExtraError   a feature whose optional packages are not installed

Each carries a message (what is wrong, where, what was found) and a hint (what to do next).
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from mien.installation import install_command

if TYPE_CHECKING:
    from collections.abc import Iterable


class MienError(Exception):
    """Base of all errors a user can act upon: `message` says what is wrong, `hint` what to do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:  # the keyword-only hint defeats default pickling
        return (_rebuild, (type(self), self.message, self.hint))


def _rebuild(kind: type[MienError], message: str, hint: str) -> MienError:
    return kind(message, hint=hint)


class ConfigError(MienError):
    """An invalid recipe, argument or command line."""


class DataError(MienError):
    """Labelled data that cannot be read, joined or trained on."""


class ModelFileError(MienError):
    """An ONNX file or checkpoint that is missing, damaged or unsuitable."""


class SourceError(MienError):
    """An image or folder that cannot be read."""


class RunFolderError(MienError):
    """A run folder that is missing, incomplete or not one of mien's."""


class TrainingError(MienError):
    """A training that cannot continue, for example because its loss is NaN."""


class ServerError(MienError):
    """A mien server that does not answer or refuses a request."""


class ClusterError(MienError):
    """A cluster that cannot be reached, or whose workers cannot be used."""


class ResourceError(MienError):
    """Not enough memory, or too many threads."""


class MissingExtraError(MienError):
    """A feature whose optional packages are not installed."""

    @classmethod
    def of(cls, extra: str, feature: str) -> MissingExtraError:
        """Return the error for `feature`, which needs the optional packages named `extra`."""
        return cls(
            f"{feature} needs packages that are not installed",
            hint=f"install them: {install_command(extra)}",
        )


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return a number and its noun: '1 frame', '1,200 frames'; `things` where it is no plain -s."""
    return f"{number:,} {thing if number == 1 else things or thing + 's'}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "did you mean 'x'? " for the nearest known word, else "", to open a hint."""
    names = list(known)
    near = get_close_matches(word, names, n=1, cutoff=0.5)
    if not near and len(word) > 2:  # 'val' is not similar to 'validation', but a prefix of it
        near = [name for name in names if name.startswith(word)]
    return f"did you mean {near[0]!r}? " if near else ""
