"""Paths that a program gives."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mien.errors import ConfigError


def given_path(path: Any) -> Path:
    """Return an argument named `path` as a path.

    Raises:
        ConfigError: it is neither text nor a path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ConfigError(
            f"path: expected a path, found {type(path).__name__}",
            hint="pass a str or a pathlib.Path",
        )
    return Path(path)
