"""Writing a coding: ELAN's .eaf by pympi, Praat's .TextGrid by praatio."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import MissingExtraError
from mien.files import write_by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.codings.coding import Tier


def write_elan(path: Path, tiers: Sequence[Tier], media: Sequence[str] = ()) -> None:
    """Write tiers as an ELAN file; times are rounded to its milliseconds.

    Args:
        path: of the file.
        tiers: with names that differ.
        media: files that the coding is of, which ELAN opens beside it.

    Raises:
        WriteError: the file cannot be written.
        MissingExtraError: pympi is not installed.
    """
    try:
        from pympi.Elan import Eaf
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("codings", "writing ELAN files") from error
    document = Eaf(author="mien")
    document.remove_tier("default")
    for name in media:
        document.add_linked_file(name, mimetype=_mime(name))
    for tier in tiers:
        document.add_tier(tier.name)
        for one in tier.segments:
            start, end = round(1000 * one.start_s), round(1000 * one.end_s)
            # ELAN has no segment of less than its unit.
            document.add_annotation(tier.name, start, max(end, start + 1), one.label)
    write_by_name(path, lambda place: document.to_file(str(place)))


def write_textgrid(path: Path, tiers: Sequence[Tier], end_s: float) -> None:
    """Write tiers as a TextGrid of Praat, long form, UTF-8; time without a segment has no label.

    Args:
        path: of the file.
        tiers: with names that differ.
        end_s: end of the recording in seconds, after the last segment's.

    Raises:
        WriteError: the file cannot be written.
        MissingExtraError: praatio is not installed.
    """
    try:
        from praatio.data_classes.interval_tier import IntervalTier
        from praatio.data_classes.textgrid import Textgrid
        from praatio.utilities.constants import Interval
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("codings", "writing TextGrid files") from error
    grid = Textgrid(0, end_s)
    for tier in tiers:
        entries = [Interval(one.start_s, one.end_s, one.label) for one in tier.segments]
        grid.addTier(IntervalTier(tier.name, entries, 0, end_s))
    write_by_name(
        path, lambda place: grid.save(str(place), "long_textgrid", includeBlankSpaces=True)
    )


def _mime(name: str) -> str:
    # pympi knows five suffixes and fails for others; ELAN goes by the file itself.
    return {".mp4": "video/mp4", ".mpg": "video/mpeg", ".mov": "video/quicktime"}.get(
        Path(name).suffix.lower(), "unknown"
    )
