"""Values that every source reads alike: names of splits, labels, the size of a crop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SPLIT_NAMES = {
    "": "",
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "publictest": "validation",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
}
"""Names of splits in sources, and ours. FER2013's PublicTest is validation, PrivateTest test."""
MIN_SIZE, MAX_SIZE = 8, 1024
"""Range of a crop's height and width, in pixels."""


def check_size(size: int) -> None:
    """Raise a ConfigError where a crop's height and width is out of range."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ConfigError(
            f"size: {size} is out of range {MIN_SIZE} to {MAX_SIZE} pixels",
            hint="48 is usual",
        )


def split_name(text: str, where: str) -> str:
    """Return our spelling of a split's name.

    Raises:
        DataError: unknown name; the message starts with `where`.
    """
    key = text.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if key not in SPLIT_NAMES:
        raise DataError(
            f"{where}: unknown split {text!r}",
            hint="allowed: train, validation, test (or Training, PublicTest, PrivateTest)",
        )
    return SPLIT_NAMES[key]


def index_labels(
    labels: Sequence[str], order: Sequence[str] = ()
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the label names (in `order` first, then sorted) and each row's index; '' is -1."""
    present = set(labels) - {""}
    # Only classes that occur: a network must not get a logit for one without images.
    names = tuple([name for name in order if name in present])
    names += tuple(sorted(present - set(names)))
    index = {name: i for i, name in enumerate(names)}
    return names, np.array([index.get(label, -1) for label in labels], np.int64)
