"""One theme for every report: templates, escaped, self-contained."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from mien.report.page import data_uri, render

SOURCES = Path(__file__).parents[2] / "src" / "mien"
MARKUP = ("<div", "<p>", "<p ", "<table", "<td", "<html", "<style", "<svg xmlns", "<polygon")


def literals(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str)]


def test_html_is_written_by_templates_only() -> None:
    found = [
        (path.relative_to(SOURCES), text)
        for path in SOURCES.rglob("*.py")
        # The web server's own pages are a site, not reports.
        if "serve" not in path.relative_to(SOURCES).parts
        for text in literals(path)
        if any(mark in text for mark in MARKUP)
    ]
    assert not found


def test_every_page_extends_the_base() -> None:
    templates = SOURCES / "report" / "templates"
    fragments = {"base.html", "macros.html", "notebook.html", "doctor-cell.html", "cell.html"}
    pages = {path.name for path in templates.glob("*.html")} - fragments
    assert pages >= {"audit.html", "explanation.html", "import.html", "study.html", "video.html"}
    for name in pages:
        text = (templates / name).read_text()
        assert text.startswith('{% extends "base.html" %}'), name
        assert "<style" not in text, name


def test_values_are_escaped() -> None:
    made = render("notebook.html", readings=[{
        "source": '"><script>', "about": "<b>", "jpeg": None, "rows": [], "lines": ["a & b"],
    }], more=0)  # fmt: skip
    assert "<script>" not in made
    assert "&lt;b&gt;" in made
    assert "a &amp; b" in made


def test_a_forgotten_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'more' is undefined"):
        render("notebook.html", readings=[])


def test_data_uris() -> None:
    assert data_uri(b"\x89PNG\r\n") == "data:image/png;base64,iVBORw0K"
    assert data_uri(b"\xff\xd8\xff") == "data:image/jpeg;base64,/9j/"


def test_jinja_is_imported_by_the_first_page_only() -> None:
    code = (
        "import sys; import mien.cli.main, mien.cli.predict, mien.reader, mien.imaging.notebook; "
        "import mien.data.import_page, mien.video.sinks.report; assert 'jinja2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
