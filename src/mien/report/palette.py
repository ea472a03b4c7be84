"""The colours of everything that mien draws: plots, pages, annotated images, timelines.

Labels keep one colour everywhere. Six of their hues are Okabe and Ito's; those of 'surprise',
'contempt' and 'unsure' are moved until each pair of labels differs, in normal vision, protanopia,
deuteranopia and tritanopia (Machado et al. 2009), by at least 11 in CIE Lab. Lines that are no
labels (training, validation) have a series of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

UNSURE = "unsure"
LABELS: Mapping[str, str] = MappingProxyType(
    {
        "happy": "#e69f00",
        "neutral": "#56b4e9",
        "sad": "#0072b2",
        "angry": "#d55e00",
        "surprise": "#e0d000",
        "fear": "#cc79a7",
        "disgust": "#009e73",
        "contempt": "#7a5a3c",
        UNSURE: "#636363",
    }
)
LABELS_ON_DARK: Mapping[str, str] = MappingProxyType(
    {**LABELS, "sad": "#2a7fc0", "contempt": "#96785a", UNSURE: "#8a8d94"}
)
"""On dark pages: those that would sink into the background are lighter."""
OTHER = "#7878c8"
"""A label that a user's own model has."""

INK, SOFT, LINE, PAPER, CARD = "#22262b", "#5d646e", "#dde0e4", "#ffffff", "#f6f7f8"
BLUE, ORANGE, GREY = "#3a6ea5", "#d1603d", "#8a8f98"
DARK_INK, DARK_SOFT, DARK_LINE, DARK_PAPER, DARK_CARD, DARK_BED = (
    "#e6e8eb", "#9aa2ac", "#343a42", "#16191d", "#1f2329", "#262b32",
)  # fmt: skip
BED = "#eef0f2"
"""Behind a timeline's areas; DARK_BED on dark pages."""
ALERT = "#d6336c"
SERIES = (BLUE, ORANGE, INK, GREY, "#9b30c9", "#7b4442")
"""Lines of a plot that are no labels, in the order in which they are taken."""

GOOD, BAD, OPEN = "#24704a", "#b3361f", "#7a5c10"
"""Text of a verdict: passed, failed, undecided; on light pages."""
DARK_BLUE, DARK_ORANGE = "#7fb0e0", "#ff9a7a"
DARK_GOOD, DARK_BAD, DARK_OPEN = "#6cc79a", "#ff8f7a", "#e0bf6a"
VIDEO_BACKGROUND = "#000000"
PANEL, PANEL_INK, PANEL_TRACK = "#181a1e", "#ffffff", "#4a4e56"
"""On images, which may have any color: a dark panel, its text, and the empty part of its bars."""
FRAME_CHOSEN, FRAME_OTHER = "#3fb96e", "#e67e22"
"""Frames on thumbnails: the face that was cropped (the page calls it green), and the others."""

LIGHT_PAGE: Mapping[str, str] = MappingProxyType(
    {
        "ink": INK, "soft": SOFT, "line": LINE, "paper": PAPER, "card": CARD, "bed": BED,
        "blue": BLUE, "orange": ORANGE, "good": GOOD, "bad": BAD, "open": OPEN,
    }
)  # fmt: skip
"""CSS custom properties of every HTML report, by name without the leading dashes."""
DARK_PAGE: Mapping[str, str] = MappingProxyType(
    {
        "ink": DARK_INK, "soft": DARK_SOFT, "line": DARK_LINE, "paper": DARK_PAPER,
        "card": DARK_CARD, "bed": DARK_BED, "blue": DARK_BLUE, "orange": DARK_ORANGE,
        "good": DARK_GOOD, "bad": DARK_BAD, "open": DARK_OPEN,
    }
)  # fmt: skip
"""The same properties where the reader prefers a dark color scheme."""


def label_colour(label: str, *, dark: bool = False) -> str:
    """Return a label's colour as #rrggbb; `dark` gives the one for dark backgrounds."""
    return (LABELS_ON_DARK if dark else LABELS).get(label, OTHER)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return #rrggbb as red, green and blue, 0 to 255."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return red, green, blue
