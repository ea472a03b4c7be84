"""The example page of @mien/browser, from the packed package and a server of files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.patience import until
from tests.web.chromium import ROOT
from tests.web.conftest import EXAMPLE, MODULE


def test_the_example_page_reads_an_image_and_the_camera(
    load: Callable[..., Any], examples: Path
) -> None:
    page = load(EXAMPLE)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda m: problems.extend([m.text] if m.type == "error" else []))
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.wait_for_selector("#faces li:has-text('happy')")
    page.set_input_files("#file", str(examples / "grace_hopper.jpg"))
    page.wait_for_selector("#view[width='512'][height='600']")
    assert page.locator("#faces li").count() == 1
    page.click("#camera")
    page.wait_for_selector("#faces li:has-text('Face 1: happy')")
    page.click("#camera")
    page.wait_for_selector("#camera[aria-pressed=false]")
    assert problems == []


def test_the_example_page_needs_no_horizontal_scrolling_on_a_phone(
    load: Callable[..., Any],
) -> None:
    page = load(EXAMPLE, viewport={"width": 320, "height": 700})
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.wait_for_selector("#faces li")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_example_page_is_accessible(load: Callable[..., Any], axe: str, scheme: str) -> None:
    page = load(EXAMPLE, color_scheme=scheme, bypass_csp=True)
    page.wait_for_selector("body[data-ready]")
    page.click("#example")
    page.wait_for_selector("#faces li")
    page.evaluate(axe)
    found = page.evaluate(
        "async () => (await axe.run()).violations.map((v) => [v.id, v.nodes[0].html])"
    )
    assert found == []


@pytest.mark.parametrize("page_of", ["docs/browser.md", "web/browser/README.md"])
def test_the_programs_of_the_documentation_run(
    load: Callable[..., Any], site: Any, page_of: str
) -> None:
    text = (ROOT / page_of).read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"^```js\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    imports = json.dumps({"imports": {"@mien/browser": MODULE}})
    html = (
        f'<!doctype html><script type="importmap">{imports}</script>'
        f'<img src="{EXAMPLE}astronaut.jpg"><video muted></video>'
        "<script>navigator.mediaDevices.getUserMedia({ video: true }).then((stream) =>"
        ' (document.querySelector("video").srcObject = stream));</script>'
        f'<script type="module">{program}\ndocument.title = "done";</script>'
    )
    (site.folder.parents[2] / "program.html").write_text(html, encoding="utf-8")
    page = load()
    printed: list[str] = []
    page.on("console", lambda message: printed.append(message.text))
    page.on("pageerror", lambda error: printed.append(f"error: {error}"))
    page.goto(f"{site.address}/program.html")
    until(lambda: page.wait_for_timeout(100) or "1 happy" in printed)
    page.evaluate('document.querySelector("video").pause()')
    page.wait_for_function('document.title === "done"')
    assert any(line.startswith("happy 0.9") for line in printed)
    assert not [line for line in printed if line.startswith("error")]
