"""Reading a coding of any kind: ELAN, Praat, or a table; see `read_coding`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.codings.coding import Coding, Segment, Tier, join_runs
from mien.errors import DataError
from mien.files import CHECK_PATH
from mien.labels import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUFFIXES = (".eaf", ".textgrid", ".csv", ".tsv")
"""Suffixes of codings, in lower case; other files of a folder are passed over."""


def read_coding(path: Path, rename: Mapping[str, str] | None = None) -> Coding:
    """Return the coding in a file; its labels in mien's spelling ('Happiness' is 'happy').

    Args:
        path: `.eaf` (ELAN), `.TextGrid` (Praat, UTF-8 or UTF-16), `.csv` or `.tsv`: rows of
            `mien video`, or a table with start, end and label (or BIDS's onset and duration).
        rename: labels by the name that they have in the file, such as {'Lachen': 'happy'}.

    Raises:
        DataError: the file is missing, damaged, of another kind, or has no labelled segment; or
            segments of a tier overlap.
        MissingExtraError: the package that reads this kind is not installed.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file", hint=CHECK_PATH)
    suffix = path.suffix.lower()
    if suffix == ".eaf":
        from mien.codings.elan import read_elan as read
    elif suffix == ".textgrid":
        from mien.codings.praat import read_textgrid as read
    elif suffix in (".csv", ".tsv"):
        from mien.codings.tables import read_table as read
    else:
        raise DataError(
            f"{path}: {suffix or 'a file without a suffix'} is no coding that mien reads",
            hint=f"give a file with one of the suffixes {', '.join(SUFFIXES)}",
        )
    coding = read(path)
    tiers = tuple(_spelled(tier, rename or {}) for tier in coding.tiers if tier.segments)
    if not tiers:
        raise DataError(f"{path} has no labelled segment", hint="is it the right file?")
    return Coding(coding.source, tiers, coding.is_sampled)


def _spelled(tier: Tier, rename: Mapping[str, str]) -> Tier:
    """Return the tier with renamed labels; neighbors that then have one label are joined."""
    by_name = {name.strip().lower(): label for name, label in rename.items()}
    segments = (
        Segment(s.start_s, s.end_s, by_name.get(s.label.strip().lower()) or canonical(s.label))
        for s in tier.segments
    )
    return Tier(tier.name, tuple(join_runs(segments)))
