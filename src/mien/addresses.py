"""Distinguish addresses such as https://host/file from paths."""

from __future__ import annotations

import os
import re

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")
"""At least two letters: C:/ is a drive. One slash: pathlib drops the other."""


def find_address(text: str | os.PathLike[str]) -> str | None:
    """Return the address in `text`, with both slashes, or None where it is a path.

    A file of that very name is a path. 'https:/host' counts: `Path('https://host')` reads so.
    """
    word = os.fspath(text)
    match = _ADDRESS.match(word)
    # os.path.exists, unlike Path.exists, is False for a name that is too long.
    if match is None or os.path.exists(word):  # noqa: PTH110
        return None
    return f"{match.group(1)}://{word[match.end() :]}"
