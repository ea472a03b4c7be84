"""Checks before a command starts: optional packages and models that are not there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def needs(extra: str, feature: str) -> Iterator[None]:
    """Turn a missing third-party package inside the block into a MissingExtraError.

    Args:
        extra: name of the optional dependencies, such as 'train'.
        feature: what needs them, for the message.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "mien":
            raise  # a bug in mien, not a missing package
        raise MissingExtraError.of(extra, feature) from error


def refuse_missing(model: Path) -> None:
    """Raise a ModelFileError unless `model` is a file, a folder or a shipped model's name."""
    from mien.model.resolve import resolve

    resolve(model)
