"""What a data source records about single files, beside the crops themselves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that was skipped, or that was read with a warning, and why.

    Attributes:
        source: path or name, as in Dataset.sources_n.
        reason: for people.
        kind: for programs, one of mien.data.notices.KINDS.
    """

    source: str
    reason: str
    kind: str = "unreadable"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A small image for the page of an import.

    Attributes:
        source: path or name, as in Dataset.sources_n.
        kind: why the image was skipped, or '' where its face was cropped.
        reason: the same, for people.
        jpeg: the encoded thumbnail.
    """

    source: str
    kind: str
    reason: str
    jpeg: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """Where in its image file a crop comes from.

    Attributes:
        width: width of the image as displayed, in pixels.
        height: height of the image as displayed, in pixels.
        box: the detector's (left, top, right, bottom) in pixels; None where the whole image
            is the crop.
        score: the detector's confidence, 0 to 1; None where the whole image is the crop.
        landmarks: five (x, y) in pixels, where the detector gives them.
    """

    width: int
    height: int
    box: tuple[float, ...] | None = None
    score: float | None = None
    landmarks: tuple[tuple[float, ...], ...] | None = None
