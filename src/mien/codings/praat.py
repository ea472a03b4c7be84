"""Codings of Praat (.TextGrid), read by praatio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien.codings.coding import Coding, Segment, make_tier
from mien.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from pathlib import Path


def read_textgrid(path: Path) -> Coding:
    """Return the interval tiers of a TextGrid, long or short, in UTF-8 or UTF-16.

    Point tiers have no duration and are left out; `read_points` reads them.

    Raises:
        DataError: the file is damaged, or segments of a tier overlap.
        MissingExtraError: praatio is not installed.
    """
    grid = _opened(path)
    from praatio.data_classes.interval_tier import IntervalTier

    tiers = tuple(
        make_tier(
            tier.name,
            (Segment(float(e.start), float(e.end), e.label.strip()) for e in tier.entries),
            f"{path}, tier {tier.name!r}",
        )
        for tier in grid.tiers
        if isinstance(tier, IntervalTier)
    )
    return Coding(path, tiers)


def read_points(path: Path) -> dict[str, list[tuple[float, str]]]:
    """Return the points of each point tier: seconds and label, those without a label left out.

    Raises:
        DataError: the file is damaged.
        MissingExtraError: praatio is not installed.
    """
    grid = _opened(path)
    from praatio.data_classes.point_tier import PointTier

    return {
        tier.name: [(float(e.time), e.label.strip()) for e in tier.entries if e.label.strip()]
        for tier in grid.tiers
        if isinstance(tier, PointTier)
    }


def _opened(path: Path) -> Any:
    try:
        from praatio import textgrid
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("codings", "reading TextGrid files") from error
    try:
        return textgrid.openTextgrid(
            str(path), includeEmptyIntervals=False, reportingMode="silence",
            duplicateNamesMode="rename",
        )  # fmt: skip
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", hint="check the file") from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} cannot be read as a TextGrid: it is neither UTF-8 nor UTF-16 with a byte "
            f"order mark (byte {error.start})",
            hint="in Praat, set Text writing preferences to UTF-8 and save it again",
        ) from error
    except Exception as error:
        # praatio meets damage with errors of any kind: IndexError, AssertionError, its own.
        raise DataError(
            f"{path} cannot be read as a TextGrid: {_damage(path)}",
            hint="open it in Praat and save it again as a text file",
        ) from error


def _damage(path: Path) -> str:
    """Return in words what is wrong with a file; praatio's own errors are those of its code."""
    size = path.stat().st_size
    if size == 0:
        return "the file is empty"
    with path.open("rb") as stream:
        head = stream.read(400).replace(b"\0", b"")
    if b"TextGrid" not in head:
        return "its first lines do not say TextGrid"
    return f"it is damaged or ends too early, at {size:,} bytes"
