"""The page in a browser: scrubbing, keys, people, marks, conflicts; for everybody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.sessions.study_file import load_study
from mien.video.people.file import People
from tests.patience import until
from tests.viewer.conftest import viewing
from tests.web.chromium import ROOT

Visit = Callable[..., Any]


@pytest.fixture
def address(results: Path, tmp_path: Path) -> Iterator[str]:
    with viewing(results, tmp_path / "viewer.log") as running:
        yield running


@pytest.fixture(scope="session")
def axe() -> str:
    path = ROOT / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not path.exists():
        pytest.skip("axe-core is not installed: make web")
    return path.read_text(encoding="utf-8")


def time_of(page: Any) -> float:
    return float(page.get_attribute("#scrubber", "aria-valuenow"))


def wait(page: Any, true: str) -> None:
    """Wait until a script is true; Playwright's own waiting would need eval in the page."""
    until(lambda: page.evaluate(true))


def place(page: Any, selector: str, fraction: float) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    return box["x"] + fraction * box["width"], box["y"] + box["height"] / 2


def test_hover_scrubs_and_a_click_stays(visit: Visit, address: str) -> None:
    page = visit(address)
    page.mouse.move(*place(page, ".lane canvas", 0.5))
    wait(page, "document.querySelector('#scrubber').ariaValueNow === '14.0'")
    wait(page, "Math.abs(document.querySelector('video').currentTime - 14) < 0.2")
    page.mouse.move(5, 5)
    wait(page, "document.querySelector('#scrubber').ariaValueNow === '0.0'")
    page.mouse.click(*place(page, ".lane canvas", 0.25))
    page.mouse.move(5, 5)
    assert time_of(page) == pytest.approx(7, abs=0.1)
    page.wait_for_selector(".face-box")
    assert page.locator(".face-box").count() == 2


PREVIEW = "document.querySelector('.preview')"


def test_previews_follow_the_pointer_and_the_exact_frame_follows_them(
    visit: Visit, address: str
) -> None:
    page = visit(address)
    page.wait_for_selector("body[data-previews=all]")
    wait(page, "!document.querySelector('video').seeking")
    # In one go, faster than the pointer can rest.
    shown = page.evaluate(f"""async () => {{
      const canvas = document.querySelector('.lane canvas'), box = canvas.getBoundingClientRect();
      const shown = [];
      for (let part = 0.1; part < 0.9; part += 0.05) {{
        canvas.dispatchEvent(new PointerEvent('pointermove', {{ bubbles: true, pointerType: 'mouse',
          clientX: box.left + part * box.width, clientY: box.top + 9 }}));
        const preview = {PREVIEW};
        if (!preview.hidden) shown.push([Number(preview.dataset.time), part * 28]);
      }}
      return shown;
    }}""")
    assert len(shown) == 16
    assert all(abs(time - moment) <= 1 for time, moment in shown)
    assert len({time for time, _ in shown}) > 10
    colours = page.evaluate(
        f"[...{PREVIEW}.getContext('2d').getImageData(0, 0, 160, 90).data].slice(0, 3)"
    )
    assert sum(colours) > 100  # something was drawn
    wait(page, f"{PREVIEW}.hidden && Math.abs(document.querySelector('video').currentTime - "
               "Number(document.querySelector('#scrubber').ariaValueNow)) < 0.1")  # fmt: skip
    # Boxes are back with the exact frame, whose rows are here already.
    wait(page, "document.querySelectorAll('.face-box').length > 0")
    page.evaluate("""() => {
      const canvas = document.querySelector('.lane canvas'), box = canvas.getBoundingClientRect();
      for (const part of [0.84, 0.86, 0.88]) canvas.dispatchEvent(new PointerEvent('pointermove',
        { bubbles: true, pointerType: 'mouse', clientX: box.left + part * box.width,
          clientY: box.top + 9 }));
    }""")
    wait(page, f"{PREVIEW}.hidden && document.querySelectorAll('.face-box').length > 0")
    # A frame on or back is not a preview's: the video is sought at once.
    page.mouse.click(*place(page, ".lane canvas", 0.5))
    page.mouse.move(5, 5)
    wait(page, f"{PREVIEW}.hidden && !document.querySelector('video').seeking && "
               "Math.abs(document.querySelector('video').currentTime - 14) < 0.1")  # fmt: skip
    page.keyboard.press("ArrowRight")
    assert page.evaluate(f"{PREVIEW}.hidden")


def test_keys_move_through_the_video(visit: Visit, address: str) -> None:
    page = visit(address)
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert page.inner_text("#time") == "0:02.0"
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#time") == "0:02.2"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("PageDown")
    assert time_of(page) == pytest.approx(12.2, abs=0.1)
    page.keyboard.press("End")
    assert time_of(page) == pytest.approx(28, abs=0.1)
    page.keyboard.press("Home")
    assert time_of(page) == 0
    page.keyboard.press("Space")
    wait(page, "Number(document.querySelector('#scrubber').ariaValueNow) > 0.3")
    page.keyboard.press("Space")
    assert page.inner_text("#play-name") == "Play"
    page.keyboard.press("?")
    assert page.is_visible("#help")
    listed = page.locator("#keys kbd").all_inner_texts()
    assert {"Space", "←", "→", "Home", "End", "[", "]", "E", "X", "C"} <= set(listed)
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")


def test_zoom_asks_for_finer_bins(visit: Visit, address: str) -> None:
    page = visit(address, width=320)  # fewer columns than the video has frames
    coarse = float(page.get_attribute("body", "data-drawn"))
    for _ in range(4):
        page.keyboard.press("+")
    wait(page, f"Number(document.body.dataset.drawn) < {coarse}")
    assert page.is_visible("#pan")
    page.keyboard.press("0")
    assert not page.is_visible("#pan")


def test_a_range_is_excluded_by_keyboard(visit: Visit, address: str, results: Path) -> None:
    page = visit(address)
    page.keyboard.press("PageDown")
    page.keyboard.press("[")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("]")
    assert page.inner_text("#range-text") == "0:10.00 to 0:11.00"
    page.keyboard.press("x")
    page.fill("#dialog input[type=text]", "hand before the face")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .sign.exclusion")
    (one,) = load_study(results / "study.toml").exclusions
    assert (one.start_s, one.end_s, one.reason) == (10, 11, "hand before the face")


def test_events_and_corrections_are_saved(visit: Visit, address: str, results: Path) -> None:
    page = visit(address)
    page.keyboard.press("e")
    page.fill("#dialog input[type=text]", "joke")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .sign.event")
    page.mouse.move(*place(page, ".lane canvas", 0.1))
    page.mouse.down()
    page.mouse.move(*place(page, ".lane canvas", 0.2), steps=5)
    page.mouse.up()
    page.keyboard.press("c")
    page.select_option("#dialog select", "sad")
    page.fill("#dialog input[type=text]", "mk")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .sign.correction")
    study = load_study(results / "study.toml")
    assert [event.name for event in study.events] == ["joke"]
    (one,) = study.corrections
    assert (one.track, one.label, one.by) == (1, "sad", "mk")
    assert (one.start_s, one.end_s) == pytest.approx((2.8, 5.6), abs=0.2)
    page.click("#undo")
    page.wait_for_selector("#marks .sign.correction", state="detached")
    page.click("#marks .remove")
    page.wait_for_selector("#marks .empty")


def test_people_are_named_merged_and_split(visit: Visit, address: str, results: Path) -> None:
    page = visit(address)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("n")
    page.fill("#dialog input[type=text]", "Anna")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lane .name:has-text('Anna')")
    page.keyboard.press("n")
    page.select_option("#dialog select", "P1")
    page.click("#dialog >> text=Merge")
    page.wait_for_selector("#dialog .error-box:has-text('frame 0')")
    page.select_option("#dialog select", "P3")
    page.click("#dialog >> text=Merge")
    page.wait_for_selector("#dialog", state="hidden")
    assert page.locator(".lane").count() == 2
    people = People.load(results / "people.json")
    assert [len(person.tracks) for person in people.people] == [1, 2]
    page.keyboard.press("PageDown")
    page.keyboard.press("n")
    page.click("#dialog >> text=/^Split at/")
    wait(page, "document.querySelectorAll('.lane').length === 3")
    page.locator(".lane .more").last.click()
    page.locator("#dialog .pieces button:has-text('Not a face')").first.click()
    page.wait_for_selector("#others:has-text('1 track')")


def test_a_conflict_is_shown_and_solved(visit: Visit, address: str, results: Path) -> None:
    page = visit(address)
    page.keyboard.press("n")
    page.fill("#dialog input[type=text]", "Anna")
    page.keyboard.press("Enter")
    page.wait_for_selector(".lane .name:has-text('Anna')")
    People.load(results / "people.json").rename("Anna", "Berta").save(results)
    page.click("#undo")
    page.wait_for_selector("#notice .error-box:has-text('changed by somebody else')")
    page.click("#notice button")
    page.wait_for_selector(".lane .name:has-text('Berta')")


def test_without_its_video_the_timeline_is_shown(
    visit: Visit, results: Path, drawn: Path, tmp_path: Path
) -> None:
    text = (results / "interview.csv").read_text().replace(str(drawn), str(tmp_path / "gone"))
    (results / "interview.csv").write_text(text)
    with viewing(results, tmp_path / "viewer.log") as address:
        page = visit(address)
        assert "was not found" in page.inner_text("#frame")
        page.keyboard.press("PageDown")
        page.wait_for_selector("#now li:has-text('Person 1')")
        page.keyboard.press("Space")
        wait(page, "Number(document.querySelector('#scrubber').ariaValueNow) > 10.2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit: Visit, address: str, axe: str, scheme: str) -> None:
    page = visit(address, color_scheme=scheme)
    page.evaluate(axe)
    for state, keys in (("start", ()), ("help", ("?",)), ("person", ("Escape", "n")),
                        ("event", ("Escape", "e"))):  # fmt: skip
        for key in keys:
            page.keyboard.press(key)
        found = page.evaluate("axe.run()")["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == [], state


@pytest.mark.parametrize("breadth", [320, 390, 820, 1440])
def test_nothing_overflows_the_viewport(visit: Visit, address: str, breadth: int) -> None:
    page = visit(address, width=breadth)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    small = page.evaluate("""() => [...document.querySelectorAll("button")].filter((node) => {
      const { width, height } = node.getBoundingClientRect();
      return width && (width < 24 || height < 24);
    }).map((node) => node.outerHTML)""")
    assert small == []  # WCAG 2.5.8, target size


def test_keys_work_right_after_a_dialog_was_closed(visit: Visit, address: str) -> None:
    page = visit(address)
    page.keyboard.press("e")
    page.wait_for_selector("dialog[open] input[type=text]")
    page.keyboard.press("Escape")
    wait(page, "!document.querySelector('dialog[open]')")
    # Until the next frame is drawn the focus is in the closed dialog.
    page.evaluate("""() => document.querySelector('#dialog-form input[type=text]').dispatchEvent(
      new KeyboardEvent('keydown', { key: 'x', bubbles: true }))""")
    page.wait_for_selector("dialog[open] input[placeholder^=hand]")
