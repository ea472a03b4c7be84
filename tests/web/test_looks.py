"""For everybody: keyboard, screen readers, small screens, dark, less motion."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Visit = Callable[..., Any]
BREADTHS = (320, 390, 820, 1440)
FADED = """Promise.all(document.getAnimations()
  .filter((one) => Number.isFinite(one.effect.getComputedTiming().endTime))
  .map((one) => one.finished.catch(() => null))).then(() => null)"""
"""In the page: waits for what fades to have faded; what goes round for ever is left out."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, axe: str, examples: Path, scheme: str) -> None:
    page = visit(color_scheme=scheme)
    page.evaluate(axe)

    def check(state: str) -> None:
        page.evaluate(FADED)  # colours fade in, and would be measured on the way
        found = page.evaluate("axe.run()")["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == [], state

    check("start")
    page.click("#about-open")
    check("about")
    page.keyboard.press("Escape")
    page.set_input_files("#files", [str(p) for p in sorted(examples.glob("*.jpg"))])
    page.wait_for_selector("#strip .count:has-text('…')", state="detached")
    check("images")
    page.click("#again")
    page.click("#camera")
    page.wait_for_selector(".card")
    check("camera")
    page.goto(page.url.rstrip("/") + "/docs")
    page.evaluate(axe)
    check("docs")


def test_the_start_is_reached_by_keyboard(visit: Visit) -> None:
    page = visit()
    reached = []
    for _ in range(14):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("""() => {
          const at = document.activeElement, style = getComputedStyle(at.matches("[name=where]")
            ? at.nextElementSibling : at);
          return [at.id || at.value || at.dataset.example || at.className, style.outlineStyle];
        }""")
        )
    names = [name for name, _ in reached]
    wanted = ["server", "about-open", "choose", "camera", "astronaut.jpg", "about-more", "model",
              "threshold"]  # fmt: skip
    assert [name for name in wanted if name not in names] == []
    assert [name for name, outline in reached if name and outline == "none"] == []


def test_dialogs_open_and_close_by_keyboard(visit: Visit) -> None:
    page = visit()
    page.focus("#about-open")
    page.keyboard.press("Enter")
    assert page.is_visible("text=What it can and cannot tell")
    assert page.is_visible("text=This model: mien-small")
    page.keyboard.press("Escape")
    assert not page.is_visible("#about")
    assert page.evaluate("document.activeElement.id") == "about-open"


@pytest.mark.parametrize("breadth", BREADTHS)
def test_nothing_overflows_the_viewport(visit: Visit, examples: Path, breadth: int) -> None:
    page = visit(width=breadth)
    overhang = "document.documentElement.scrollWidth - innerWidth"
    assert page.evaluate(overhang) <= 0
    page.set_input_files("#files", [str(p) for p in sorted(examples.glob("*.jpg"))])
    page.wait_for_selector("#strip .count:has-text('…')", state="detached")
    assert page.evaluate(overhang) <= 0
    places = page.evaluate("""() => [".image", ".panel", ".box"].map((name) => {
      const { left, right, top, bottom } = document.querySelector(name).getBoundingClientRect();
      return [left, top, -right, -bottom];
    })""")
    image, panel, box = places
    assert all(inner >= outer - 1 for inner, outer in zip(panel, image, strict=True))
    assert all(inner >= outer - 1 for inner, outer in zip(box, image, strict=True))
    sizes = page.evaluate("""() => [...document.querySelectorAll(".panel .title, .panel .row")]
      .map((node) => parseFloat(getComputedStyle(node).fontSize))""")
    assert min(sizes) >= 11  # readable on a phone


def test_reduced_motion_is_respected(visit: Visit) -> None:
    page = visit(reduced_motion="reduce")
    moving = page.evaluate("""() => [...document.querySelectorAll("*")].filter((node) => {
      const style = getComputedStyle(node);
      return style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
    }).length""")
    assert moving == 0
