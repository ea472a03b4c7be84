"""Codings of ELAN (.eaf), read by pympi."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError, parse

import numpy as np

from mien.codings.coding import Coding, Segment, make_tier
from mien.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def read_elan(path: Path) -> Coding:
    """Return the tiers of an ELAN file, those that depend on another tier included.

    Times that ELAN has not aligned are spread evenly between the aligned ones around them, and
    the parts of a subdivided segment over it, as ELAN shows them.

    Raises:
        DataError: the file is damaged, or segments of a tier overlap.
        MissingExtraError: pympi is not installed.
    """
    try:
        from pympi.Elan import Eaf
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("codings", "reading ELAN files") from error
    try:
        # The file's version is no concern of a reader of tiers; pympi would print a warning.
        document = Eaf(str(path), suppress_version_warning=True)
        tiers = tuple(
            make_tier(name, _segments(document, name), f"{path}, tier {name!r}")
            for name in document.tiers
        )
    except DataError:
        raise
    except (ParseError, OSError, LookupError, ValueError, TypeError) as error:
        raise _damaged(path, error) from error
    except Exception as error:
        # pympi raises plain Exception for XML that does not parse; others are faults to be seen.
        if type(error) is not Exception:
            raise
        raise _damaged(path, error) from error
    return Coding(path, tiers)


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path} cannot be read as an ELAN file: {_damage(path, error)}",
        hint="open it in ELAN and save it again",
    )


def _damage(path: Path, error: Exception) -> str:
    """Return in words what is wrong with a file; pympi's own errors do not say it."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if path.stat().st_size == 0:
        return "the file is empty"
    try:
        root = parse(path).getroot()  # noqa: S314 - pympi has parsed the same file already
    except ParseError as damage:
        return f"it is damaged or ends too early: {damage}"
    if root.tag != "ANNOTATION_DOCUMENT":
        return f"it is <{root.tag}>, not <ANNOTATION_DOCUMENT>"
    return f"a part of it is missing or wrong: {error}"


def _segments(document: Any, tier: str) -> Iterator[Segment]:
    aligned, references, *_ = document.tiers[tier]
    times = _times_s(
        document, {slot for start, end, *_ in aligned.values() for slot in (start, end)}
    )
    for start, end, label, _ in aligned.values():
        yield Segment(times[start], times[end], label.strip())
    # Several annotations that refer to one segment divide it.
    parts = defaultdict(list)
    for parent, label, *_ in references.values():
        start, end, *_ = document.get_parent_aligned_annotation(parent)
        parts[start, end].append(label.strip())
    for slots, labels in parts.items():
        ends = _times_s(document, set(slots))
        edges = np.linspace(ends[slots[0]], ends[slots[1]], len(labels) + 1)
        for number, label in enumerate(labels):
            yield Segment(float(edges[number]), float(edges[number + 1]), label)


def _times_s(document: Any, slots: set[str]) -> dict[str, float]:
    """Return the times of a tier's slots in seconds; those without a time are spread evenly."""
    # The file's order is the order of time, also for slots that have none.
    names = [name for name in document.timeslots if name in slots]
    known = [
        (place, document.timeslots[name] / 1000)
        for place, name in enumerate(names)
        if document.timeslots[name] is not None
    ]
    if not known:
        return {}
    places, times = zip(*known, strict=True)
    spread = np.interp(range(len(names)), places, times)
    return dict(zip(names, map(float, spread), strict=True))
