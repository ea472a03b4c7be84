"""HTML and SVG reports from the templates beside this file: read `render` first.

A report is one file that needs no other and no network: the stylesheet, the scripts and all images
stand inside it.
"""

from __future__ import annotations

import base64
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mien.report import palette

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jinja2 import Environment

STYLESHEET = Path(__file__).with_name("style.css")


def render(template: str, /, **values: object) -> str:
    """Return a template of mien.report/templates, filled in.

    Every value is escaped; a template marks what is markup already with `|safe`, which is only
    right for SVG that mien drew itself.

    Args:
        template: file name, such as 'audit.html'.
        values: variables of the template.

    Raises:
        jinja2.UndefinedError: the template uses a variable that was not given.
    """
    return _environment().get_template(template).render(**values)


def script_json(value: object) -> str:
    """Return JSON as a template's `tojson` writes it: nothing in it may end the script."""
    from jinja2.utils import htmlsafe_json_dumps

    # As a plain string: Markup would escape the page that it is joined to.
    return str(htmlsafe_json_dumps(value))


@cache
def _environment() -> Environment:
    # Imported on the first page: prediction, which writes none, starts without it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("mien.report"),
        autoescape=True,
        # jinja2's default prints nothing for a misspelt variable.
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"palette": palette, "stylesheet": stylesheet()}
    environment.filters |= {"commas": _commas, "data_uri": data_uri}
    return environment


@cache
def stylesheet() -> str:
    """Return the CSS of every report: the palette as custom properties, light and dark, and rules.

    Only the two property blocks differ between light and dark, so no rule is written twice.
    """
    dark = f"@media (prefers-color-scheme: dark) {{ {_root(palette.DARK_PAGE)} }}"
    return f"{_root(palette.LIGHT_PAGE)}\n{dark}\n{STYLESHEET.read_text(encoding='utf-8')}"


def _root(colours: Mapping[str, str]) -> str:
    properties = "; ".join(f"--{name}: {value}" for name, value in colours.items())
    return f":root {{ color-scheme: light dark; {properties} }}"


def data_uri(content: bytes) -> str:
    """Return a PNG or JPEG file's bytes as a data URI for an image's `src`."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _commas(number: int) -> str:
    return f"{number:,}"
