"""One palette: labels that everybody can tell apart, in the same colour everywhere."""

from __future__ import annotations

import re
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien import types
from mien.imaging.draw import COLOURS
from mien.labels import EIGHT
from mien.report import palette
from mien.report.page import stylesheet

SOURCES = Path(__file__).parents[1] / "src" / "mien"
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour: str) -> NDArray[np.float64]:
    v = np.array(palette.rgb(colour)) / 255
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def lab(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    x = XYZ @ np.clip(rgb, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one: str, other: str) -> float:
    low, high = sorted(float((XYZ @ linear(c))[1]) for c in (one, other))
    return (high + 0.05) / (low + 0.05)


def nearest(colours: list[str], matrix: object) -> float:
    seen = [lab(np.asarray(matrix) @ linear(c)) for c in colours]
    return min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2))


@pytest.mark.parametrize("vision", VISION)
def test_labels_and_series_can_be_told_apart(vision: str) -> None:
    assert nearest(list(palette.LABELS.values()), VISION[vision]) >= 11
    assert nearest(list(palette.SERIES), VISION[vision]) >= 15


def test_what_is_read_has_contrast() -> None:
    for page in (palette.LIGHT_PAGE, palette.DARK_PAGE):
        for text in ("ink", "soft", "blue", "good", "bad", "open"):
            assert contrast(page[text], page["paper"]) >= 4.5, text
        for text in ("ink", "soft", "good", "bad"):
            assert contrast(page[text], page["card"]) >= 4.5, text
        assert contrast(page["orange"], page["paper"]) >= 3
    for line in palette.SERIES:
        assert contrast(line, palette.PAPER) >= 3
    for label, colour in palette.LABELS_ON_DARK.items():
        assert contrast(colour, palette.DARK_PAPER) >= 3, label


def test_the_stylesheet_takes_every_colour_from_the_palette() -> None:
    css = stylesheet()
    used = set(re.findall(r"var\(--([a-z]+)\)", css))
    assert set(palette.LIGHT_PAGE) == set(palette.DARK_PAGE)
    assert used <= set(palette.LIGHT_PAGE)
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    for name in palette.LIGHT_PAGE:
        assert f"--{name}: {palette.LIGHT_PAGE[name]}" in light
        assert f"--{name}: {palette.DARK_PAGE[name]}" in dark


def test_every_label_has_a_colour_of_its_own() -> None:
    assert set(palette.LABELS) == {*EIGHT, types.UNSURE}
    assert palette.label_colour("calm") == palette.OTHER
    assert {k: palette.rgb(v) for k, v in palette.LABELS.items()} == COLOURS


def test_the_web_page_has_the_same_labels() -> None:
    style = (SOURCES / "report" / "web" / "style.css").read_text()
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    found = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", light))
    assert {k: found[k] for k in palette.LABELS} == dict(palette.LABELS)
    assert found["other"] == palette.OTHER
    results = (SOURCES / "report" / "web" / "results.css").read_text()
    panel = results[results.index(".panel {") :].partition("}")[0]
    for more in (dark, panel):  # the panel beside a face is dark on either page
        own = found | dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", more))
        assert {k: own[k] for k in palette.LABELS} == dict(palette.LABELS_ON_DARK)


def test_no_file_has_colours_of_its_own() -> None:
    report = SOURCES / "report"
    for path in [*SOURCES.rglob("*.py"), *(report / "templates").iterdir(), report / "style.css"]:
        if path.name != "palette.py":
            assert not re.findall(r"#[0-9a-fA-F]{6}\b", path.read_text()), path


# Colors that are data: what drawn faces and corrupted images consist of.
PAINTED = {"drawn.py", "corruption.py"}
RGB = r"\((?:\d{2}|[12]\d\d)(?:, (?:\d{2}|[12]\d\d)){2}\)"


def test_no_file_has_rgb_triples_of_its_own() -> None:
    for path in SOURCES.rglob("*.py"):
        if path.name not in PAINTED:
            assert not re.findall(RGB, path.read_text()), path
