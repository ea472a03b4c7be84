"""The page of a video, opened as a file: no server, no network, and what it saves is read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.labels import THREE
from mien.sessions.study_file import load_study
from mien.types import FrameReading, TrackedFace
from mien.video.frame import Frame, FrameResult
from mien.video.people.file import People
from mien.video.people.parts import Person, TrackPart
from mien.video.sinks.lanes import MAX_BINS
from mien.video.sinks.page_people import update_pages
from mien.video.sinks.pages import TimelinePages
from mien.video.summary import Summary
from mien.viewer.people import seen_of
from mien.viewer.results import load_results
from tests.patience import until
from tests.viewer.sessions import HEIGHT, WIDTH, rows_of
from tests.viewer.test_page import axe, place, time_of, wait

__all__ = ["axe"]
Visit = Callable[..., Any]
NAME = "interview.mp4"


def readings(seconds: float, every: int = 1) -> Iterator[FrameReading]:
    frames: dict[int, list[dict[str, Any]]] = {}
    for row in rows_of(NAME, seconds):
        frames.setdefault(row["frame"], []).append(row)
    for number, rows in frames.items():
        if number % every:
            continue
        faces = tuple(TrackedFace.from_row(row, THREE) for row in rows if row["track"] is not None)
        yield FrameReading(NAME, number, number * 512, rows[0]["time_s"], WIDTH, HEIGHT, faces)


def write_page(path: Path, found: Iterator[FrameReading], video: str | None, images: bool) -> Path:
    pages = TimelinePages(THREE, images=images, page_path=path, video=video)
    summary = Summary(THREE)
    pixels = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
    for reading in found:
        frame = Frame.of(NAME, reading.frame, reading.time_s, pixels)
        summary.add(reading)
        pages.write(FrameResult(frame, reading))
    pages.close(summary)
    return path


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, drawn: Path) -> Path:
    """A page beside its video; not to be changed."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copy(drawn / NAME, folder / "interview.annotated.mp4")
    return write_page(folder / "interview.html", readings(28), "interview.annotated.mp4", True)


def without_state(page: Path) -> list[str]:
    """Return what stands before and after the state that a page carries."""
    before, rest = page.read_text("utf-8").split('id="state">')
    return [before, rest.split("</script>", 1)[1]]


def downloads(page: Any) -> dict[str, Path]:
    found: list[Any] = []
    page.on("download", lambda one: found.append(one))
    page.click("#export")
    page.wait_for_selector("#notice code")
    until(lambda: page.wait_for_timeout(50) or found)
    page.wait_for_timeout(300)
    return {one.suggested_filename: Path(one.path()) for one in found}


def test_a_page_without_a_server_scrubs(visit: Visit, written: Path) -> None:
    page = visit(written.as_uri())
    assert page.locator("#rows .lane").count() == 3
    assert page.locator(".lane .name span").all_inner_texts() == ["Track 1", "Track 2", "Track 3"]
    assert page.locator(".still").is_hidden()
    page.mouse.move(*place(page, ".lane canvas", 0.5))
    wait(page, "document.querySelector('#scrubber').ariaValueNow === '14.0'")
    wait(page, "Math.abs(document.querySelector('video').currentTime - 14) < 0.2")
    page.mouse.move(5, 5)
    page.keyboard.press("End")
    assert time_of(page) == pytest.approx(28, abs=0.1)
    page.keyboard.press("Home")
    page.keyboard.press("PageDown")
    assert time_of(page) == pytest.approx(10, abs=0.05)
    assert "neutral" in page.inner_text("#now") or "sad" in page.inner_text("#now")
    faces = page.evaluate(
        "[...document.querySelectorAll('.contact img')].map((i) => i.naturalWidth)"
    )
    assert len(faces) >= 6
    assert min(faces) > 0
    page.locator(".contact button").nth(1).click()
    assert time_of(page) > 0


def test_marks_are_downloaded_as_a_study(visit: Visit, written: Path) -> None:
    page = visit(written.as_uri(), accept_downloads=True)
    assert page.locator("#export").is_disabled()
    page.keyboard.press("PageDown")
    page.keyboard.press("e")
    page.fill("#dialog-form input[type=text]", 'a "joke"')
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .go")
    page.keyboard.press("[")
    page.keyboard.press("PageDown")
    page.keyboard.press("]")
    page.keyboard.press("x")
    page.fill("#dialog-form input[type=text]", "hand before the face")
    page.keyboard.press("Enter")
    until(lambda: page.locator("#marks .go").count() == 2)
    page.keyboard.press("c")
    page.select_option("#dialog-form select", "sad")
    page.fill("#dialog-form input[type=text]", "mk")
    page.keyboard.press("Enter")
    until(lambda: page.locator("#marks .go").count() == 3)
    saved = downloads(page)
    assert list(saved) == ["study.toml"]
    study = load_study(saved["study.toml"])
    assert [(one.name, one.time_s, one.video) for one in study.events] == [('a "joke"', 10, NAME)]
    assert [(one.start_s, one.end_s) for one in study.exclusions] == [(10, 20)]
    (corrected,) = study.corrections
    assert (corrected.source, corrected.track, corrected.label, corrected.by) == (
        NAME,
        1,
        "sad",
        "mk",
    )
    assert (corrected.start_s, corrected.end_s) == (10, 20)
    page.reload()
    page.wait_for_selector("body[data-drawn]")
    assert page.locator("#marks .go").count() == 3
    page.keyboard.press("u")
    until(lambda: page.locator("#marks .go").count() == 2)
    page.keyboard.press("e")
    page.fill("#dialog-form input[type=number]", "99")
    page.fill("#dialog-form input[type=text]", "late")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog-form .error-box")
    assert "outside of the video" in page.inner_text("#dialog-form .error-box")


def test_people_are_downloaded_with_a_mark_of_one_of_them(
    visit: Visit, written: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(written, tmp_path / "interview.html"))
    page = visit(path.as_uri(), accept_downloads=True)
    page.keyboard.press("e")
    page.fill("#dialog-form input[type=text]", "joke")
    page.select_option("#dialog-form select", "P2")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .go")
    saved = downloads(page)
    assert list(saved) == ["study.toml", "people.json"]
    assert load_study(saved["study.toml"]).events[0].person == "P2"
    (tmp_path / "people.json").write_bytes(saved["people.json"].read_bytes())
    people = People.load(tmp_path)
    assert people.find("P2").tracks == (TrackPart(NAME, 2),)
    # Of a folder that has the file already, the study is enough.
    update_pages(tmp_path, people)
    page.reload()
    page.wait_for_selector("#marks .go")
    assert list(downloads(page)) == ["study.toml"]


def test_people_are_named_and_merged(visit: Visit, written: Path, results: Path) -> None:
    page = visit(written.as_uri(), accept_downloads=True)
    page.click(".lane[data-lane=P2] .more")
    page.fill("#dialog-form input[type=text]", "Berta")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Berta")
    page.click(".lane[data-lane=P2] .more")
    assert "Track 1" in page.inner_text("#dialog-form select")
    page.select_option("#dialog-form select", "P1")
    page.click("#dialog-form button:text-is('Merge')")
    page.wait_for_selector("#dialog-form .error-box")
    assert "Both are seen at 0.0 s" in page.inner_text("#dialog-form .error-box")
    page.select_option("#dialog-form select", "P3")
    page.click("#dialog-form button:text-is('Merge')")
    until(lambda: page.locator("#rows .lane").count() == 2)
    # Both of its tracks are drawn in its row.
    for moment in (5, 15, 22):
        page.mouse.move(*place(page, ".lane[data-lane=P2] canvas", moment / 28))
        shown = "document.querySelectorAll('#now li:not([hidden])').length"
        wait(page, f"{shown} === {1 if moment == 15 else 2}")
    page.mouse.move(5, 5)
    page.click(".lane[data-lane=P2] .more")
    page.click("#dialog-form button:has-text('Split at')")
    page.wait_for_selector("#dialog-form .error-box")
    assert "mien view" in page.inner_text("#dialog-form .error-box")
    page.keyboard.press("Escape")
    saved = downloads(page)
    assert list(saved) == ["people.json"]
    source = load_results(results).sources[0].name
    text = saved["people.json"].read_text(encoding="utf-8").replace(NAME, source)
    (results / "people.json").write_text(text, encoding="utf-8")
    people = People.load(results / "people.json")
    people.check_rows(seen_of(load_results(results)), results / "people.json")
    assert [(p.id, p.name, [t.track for t in p.tracks]) for p in people.people] == [
        ("P1", None, [1]), ("P2", "Berta", [2, 3])
    ]  # fmt: skip


def test_names_of_a_page_are_compared_as_those_of_the_file(visit: Visit, written: Path) -> None:
    page = visit(written.as_uri())
    page.click(".lane[data-lane=P1] .more")
    page.fill("#dialog-form input[type=text]", "Jo\u0308rg Stra\u00df")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=J\u00f6rg")
    page.click(".lane[data-lane=P2] .more")
    page.fill("#dialog-form input[type=text]", "J\u00d6RG STRASS")
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog-form .error-box")
    assert "P1 has the name J\u00f6rg Stra\u00df" in page.inner_text("#dialog-form .error-box")


def test_a_page_without_its_video_says_so(visit: Visit, written: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(written, tmp_path / "moved.html"))
    page = visit(alone.as_uri())
    page.wait_for_selector(".frame .absent")
    words = page.inner_text(".frame .absent")
    assert "interview.annotated.mp4 is not beside this page" in words
    assert "mien view" in words
    page.mouse.move(*place(page, ".lane canvas", 0.5))
    wait(page, "document.querySelector('#scrubber').ariaValueNow === '14.0'")


def test_two_hours_are_levels_of_detail(visit: Visit, tmp_path: Path) -> None:
    path = write_page(tmp_path / "long.html", readings(7200, every=5), None, False)
    assert path.stat().st_size < 1_500_000
    state = json.loads(path.read_text("utf-8").split('id="state">')[1].partition("</script>")[0])
    first = state["levels"][0]
    assert sum(place[1] for place in first["tracks"].values()) <= MAX_BINS
    page = visit(path.as_uri())
    assert "is not stored" in page.inner_text(".frame .absent")
    widths = [float(page.get_attribute("body", "data-drawn"))]
    for _ in range(4):
        page.keyboard.press("+")
        page.wait_for_timeout(300)
    until(lambda: float(page.get_attribute("body", "data-drawn")) < widths[0])
    assert float(page.get_attribute("body", "data-drawn")) >= first["width"] - 1e-9


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_file(
    visit: Visit, written: Path, axe: str, scheme: str
) -> None:
    page = visit(written.as_uri(), color_scheme=scheme, bypass_csp=True)
    page.evaluate(axe)
    found = page.evaluate("axe.run()")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found] == []


@pytest.mark.parametrize("breadth", [360, 768])
def test_nothing_overflows_the_file(visit: Visit, written: Path, breadth: int) -> None:
    page = visit(written.as_uri(), width=breadth, height=800)
    assert page.evaluate("document.documentElement.scrollWidth") <= breadth


def test_people_of_the_folder_are_put_into_its_pages(
    visit: Visit, written: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(written.parent, tmp_path / "out"))
    (folder / "other.html").write_text("<p>Somebody's own page.</p>", encoding="utf-8")
    state = json.loads(written.read_text("utf-8").split('id="state">')[1].partition("</script>")[0])
    (folder / "people.json").write_text(json.dumps(state["people"]), encoding="utf-8")
    alone = People.load(folder / "people.json")
    parts = [TrackPart("other.mp4", 1), TrackPart(NAME, 2), TrackPart(NAME, 3)]
    evil = Person("P2", "Berta </script><b>", tuple(parts))
    people = replace(alone, people=(alone.people[0], evil))
    assert update_pages(folder, people) == ["interview.html"]
    assert without_state(folder / "interview.html") == without_state(written)
    page = visit((folder / "interview.html").as_uri())
    names = page.locator(".lane .name span").all_inner_texts()
    assert names == ["Track 1", "Berta </script><b>"]
    forgotten = people.forget("P2")
    update_pages(folder, forgotten)
    assert "Berta" not in (folder / "interview.html").read_text(encoding="utf-8")


def rename(page: Any, person: str, name: str) -> None:
    page.click(f".lane[data-lane={person}] .more")
    page.fill("#dialog-form input[type=text]", name)
    page.keyboard.press("Enter")
    page.wait_for_selector(f"text={name}")


def stored(page: Any) -> str:
    text = page.evaluate("JSON.stringify(Object.entries(localStorage))")
    assert isinstance(text, str)
    return text


CHANGES: dict[str, Callable[[People], People]] = {
    "forget": lambda people: people.forget("P2"),
    "merge": lambda people: replace(
        people, people=(replace(people.people[0], tracks=people.people[1].tracks),)
    ),
    "rename": lambda people: people.rename("P2", "Carla"),
    "name removed": lambda people: people.rename("P2", None),
}


@pytest.mark.parametrize(
    ("change", "rows_again"), [*((change, False) for change in CHANGES), ("forget", True)]
)
def test_names_that_a_page_no_longer_has_leave_the_browser(
    visit: Visit, written: Path, tmp_path: Path, change: str, rows_again: bool
) -> None:
    path = Path(shutil.copy(written, tmp_path / "interview.html"))
    page = visit(path.as_uri(), accept_downloads=True)
    page.keyboard.press("e")
    page.fill("#dialog-form input[type=text]", "joke")
    page.keyboard.press("Enter")
    page.wait_for_selector("#marks .go")
    rename(page, "P2", "Berta")
    (tmp_path / "people.json").write_bytes(downloads(page)["people.json"].read_bytes())
    assert "Berta" in stored(page)
    if rows_again:  # of a video that was read again, which has other tracks
        path = write_page(path, readings(20), None, False)
    assert update_pages(tmp_path, CHANGES[change](People.load(tmp_path))) == ["interview.html"]
    page.reload()
    page.wait_for_selector("body[data-drawn]")
    assert "Berta" not in stored(page) and "joke" in stored(page)
    assert "Berta" not in page.inner_text("body")
    assert page.locator("#marks .go").count() == (0 if rows_again else 1)
    # What is done from now on is kept again.
    rename(page, "P1", "Dora")
    page.reload()
    page.wait_for_selector("text=Dora")
