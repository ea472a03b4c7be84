"""Optional packages: an import that fails becomes an error that says what to install."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from mien.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def needs(extra: str, feature: str) -> Iterator[None]:
    """Turn a missing third-party package inside the block into a MissingExtraError."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "mien":
            raise  # a mistake of ours, not a missing package
        raise MissingExtraError.of(extra, feature) from error
