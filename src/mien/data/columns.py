"""Further columns of a source, such as age group, sex, skin tone or lighting: text, one per image.

They change neither the splits nor the fingerprint; `mien evaluate --by` groups images by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MANIFEST_COLUMNS = frozenset({
    "source", "label", "votes", "subject", "source_split", "split", "group", "sha256", "phash",
    "source_width", "source_height", "face_box", "face_score", "face_landmarks",
})  # fmt: skip
"""Columns that mien itself writes into a manifest."""
TEXT_KINDS = "biufSUM"
"""NumPy's kinds of arrays that can be a column: numbers, text and dates."""


def column_name(name: str) -> str:
    """Return the name of a source's column in the manifest: lower case, without outer spaces.

    A name that the manifest uses already gets a trailing underscore, as in Python: 'group' becomes
    'group_'.
    """
    name = name.strip().lower()
    # Renamed and not dropped: a source's own 'group' may be what its users want to evaluate by.
    return f"{name}_" if name in MANIFEST_COLUMNS else name


def text_values(values_n: NDArray[Any]) -> NDArray[np.str_]:
    """Return the values of a column as text without outer spaces, str [n]; '' for nan and NaT."""
    if values_n.dtype.kind == "S":
        texts = [bytes(value).decode("utf-8", "replace") for value in values_n.tolist()]
    else:
        texts = [str(value) for value in values_n]
    # Only where they mean a missing value: in a column of text, 'nan' is a word.
    missing = {"nan", "NaT"} if values_n.dtype.kind in "fM" else set()
    return np.array(["" if text in missing else text.strip() for text in texts], np.str_)
