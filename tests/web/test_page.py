"""The page as people use it, in Chromium: every control, on the server."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import Reader
from mien.model.classifier import Classifier
from mien.video.pace import Pace
from tests.web.conftest import downloaded

Visit = Callable[..., Any]


def open_files(page: Any, *files: Path) -> None:
    page.set_input_files("#files", [str(file) for file in files])
    page.wait_for_selector(".card, #notice .error-box, .nobody button")


def read_all(page: Any, number: int) -> None:
    """Wait until each thumbnail has its count."""
    page.wait_for_selector(f"#strip button:nth-child({number})")
    page.wait_for_selector("#strip .count:has-text('…')", state="detached")


@pytest.fixture
def portraits(examples: Path) -> list[Path]:
    return [examples / "astronaut.jpg", examples / "grace_hopper.jpg"]


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    Image.new("RGB", (160, 120), (140, 140, 140)).save(path)
    return path


def test_the_page_states_the_models_accuracy(visit: Visit) -> None:
    page = visit()
    consensus = Classifier.load("mien-small").info.metrics["consensus"]
    accuracy, n = consensus["accuracy"], consensus["n"]
    for place in ("#fact-right", "#about-model"):
        text = page.locator(place).text_content()
        assert f"in {100 * accuracy['value']:.1f}% of {n:,} pictures" in text
        assert f"95% interval {100 * accuracy['low']:.1f}% to {100 * accuracy['high']:.1f}%" in text
        assert "validation data" in text
        for label, recall in consensus["recall"].items():
            assert f"{label} {100 * recall['value']:.0f}%" in text


def test_an_image_is_read_and_its_answer_downloaded(visit: Visit, portraits: list[Path]) -> None:
    page = visit()
    open_files(page, portraits[1])
    assert page.locator(".card .name").inner_text().startswith("Neutral")
    assert page.locator(".overlay .box").count() == 1
    expected = Reader().read(portraits[1]).to_dict()["faces"]
    percent = f"{100 * expected[0]['confidence']:.0f}"
    assert f"neutral {percent}%" in page.locator(".panel .title").inner_text()
    alt = page.locator(".image img").get_attribute("alt")
    assert f"1 face: neutral, {percent} percent" in alt
    assert "neutral" in page.locator("#announcer").inner_text()

    answer = json.loads(downloaded(page, "json"))
    assert answer["images"][0]["source"] == "grace_hopper.jpg"
    face = answer["images"][0]["faces"][0]
    assert face["label"] == "neutral"
    assert face["box"] == pytest.approx(expected[0]["box"], abs=0.2)
    assert face["probabilities"] == pytest.approx(expected[0]["probabilities"], abs=1e-3)
    rows = list(csv.DictReader(io.StringIO(downloaded(page, "csv").decode())))
    assert [row["label"] for row in rows] == ["neutral"]
    assert float(rows[0]["p_neutral"]) == face["probabilities"]["neutral"]
    drawn = np.asarray(Image.open(io.BytesIO(downloaded(page, "png"))).convert("RGB"), int)
    plain = np.asarray(Image.open(portraits[1]).convert("RGB"), int)
    assert drawn.shape == plain.shape
    x0, y0 = (round(v) for v in face["box"][:2])
    assert np.abs(drawn - plain)[y0 + 40 : y0 + 60, x0 - 2 : x0 + 3].max() > 60  # the box
    assert np.abs(drawn - plain)[-30:].max() < 40  # nothing elsewhere


def test_several_images_share_a_strip(visit: Visit, portraits: list[Path], grey: Path) -> None:
    page = visit()
    open_files(page, *portraits, grey)
    read_all(page, 3)
    assert page.locator("#strip .count").all_inner_texts() == ["1", "1", "0"]
    assert page.locator("#results-sum").inner_text() == (
        "2 faces in 3 pictures: 1 happy and 1 neutral."
    )
    page.focus("#strip button:nth-child(3)")
    page.keyboard.press("Enter")
    assert "3 of 3" in page.locator("#stage-title").inner_text()
    page.click("text=Treat the whole picture as one face")
    page.wait_for_selector(".card")
    assert page.locator("#results-title").inner_text() == "1 face"
    page.click("#again")
    assert page.is_visible("#headline")


def test_the_threshold_makes_faces_unsure(visit: Visit, portraits: list[Path]) -> None:
    page = visit()
    open_files(page, portraits[1])
    page.focus("#threshold")
    page.keyboard.press("End")
    assert page.locator("#threshold-value").inner_text() == "99%"
    assert page.locator(".card .name").inner_text() == "Unsure"
    assert "the highest is neutral" in page.locator(".card .why").inner_text()
    assert page.locator(".overlay .box.unsure").count() == 1
    label = json.loads(downloaded(page, "json"))["images"][0]["faces"][0]["label"]
    assert label == "unsure"


def test_images_are_dropped_and_pasted(visit: Visit, portraits: list[Path]) -> None:
    page = visit()
    send = """([kind, data, name]) => {
      const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
      const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
        : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
      document.body.dispatchEvent(event);
    }"""
    data = [base64.b64encode(path.read_bytes()).decode() for path in portraits]
    page.evaluate(send, ["dragenter", data[0], "a.jpg"])
    assert page.is_visible("#veil")
    page.evaluate(send, ["drop", data[0], "a.jpg"])
    assert not page.is_visible("#veil")
    page.wait_for_selector(".card")
    page.evaluate(send, ["paste", data[1], "b.jpg"])
    read_all(page, 2)
    assert "b.jpg, 2 of 2" in page.locator("#stage-title").inner_text()


def test_examples_open(visit: Visit) -> None:
    page = visit()
    page.click("[data-example='astronaut.jpg']")
    page.wait_for_selector(".card")
    assert page.locator(".card .name").inner_text().startswith("Happy")


def test_a_damaged_image_is_explained(visit: Visit, examples: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((examples / "astronaut.jpg").read_bytes()[:9000])
    page = visit()
    open_files(page, bad)
    words = page.locator("#notice [role=alert]").inner_text()
    assert "The image is damaged" in words
    assert "cut short or changed" in words
    assert page.is_disabled("#save-json")


def test_an_unreachable_server_can_be_retried(visit: Visit, portraits: list[Path]) -> None:
    page = visit()
    page.context.set_offline(True)
    open_files(page, portraits[0])
    assert "The server does not respond" in page.locator("#notice").inner_text()
    page.context.set_offline(False)
    page.click("#notice button")
    page.wait_for_selector(".card")
    assert page.locator("#notice").inner_text() == ""


def test_a_busy_server_is_retried(visit: Visit, portraits: list[Path]) -> None:
    page = visit()
    answers = [429, 503]

    def busy(route: Any) -> None:
        if answers:
            headers = {"Retry-After": "0.1"}
            return route.fulfill(status=answers.pop(), headers=headers, body="{}")
        return route.continue_()

    page.route("**/v1/predict*", busy)
    open_files(page, portraits[0])
    page.wait_for_selector(".card")
    assert answers == []


def test_a_token_is_asked_for_and_kept_in_memory(browser: Any, address: str) -> None:
    context = browser.new_context()
    page = context.new_page()

    def locked(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer open sesame":
            return route.continue_()
        return route.fulfill(status=401, body="{}")

    page.route("**/v1/**", locked)
    page.goto(address)
    page.wait_for_selector("#token[open]")
    page.fill("#token-value", "wrong")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=That token is wrong")
    page.fill("#token-value", "open sesame")
    page.click("#token button")
    page.wait_for_selector("body[data-ready]")
    assert page.evaluate("[...Object.values(localStorage), document.cookie].join()") == ""
    context.close()


def test_the_camera_is_read_and_stopped(visit: Visit) -> None:
    page = visit()
    page.click("#camera")
    page.wait_for_selector(".overlay .box")
    page.wait_for_selector(".card .name:has-text('Person 1: happy')")
    assert page.is_visible("#timeline canvas")
    assert "person" in page.locator("#timeline canvas").get_attribute("aria-label")
    page.click("#stop")
    assert page.locator("#stage-title").inner_text() == "Camera, stopped"
    answer = json.loads(downloaded(page, "json"))
    assert answer["tracks"][0]["track"] == 1
    faces = [row for row in answer["rows"] if row["track"]]
    assert {row["label"] for row in faces} >= {"happy"}
    header = downloaded(page, "csv").decode().splitlines()[0].split(",")
    assert header[:4] == ["source", "frame", "time_s", "track"]
    assert header[9:13] == ["quality", "yaw", "pitch", "roll"]
    yaws = [row["yaw"] for row in faces]
    assert any(yaw is not None for yaw in yaws)
    assert all(-40 < yaw < 40 for yaw in yaws if yaw is not None)
    assert Image.open(io.BytesIO(downloaded(page, "png"))).size == (640, 480)
    page.click("#restart")
    page.wait_for_selector("#stop")
    page.click("#again")
    assert page.is_visible("#headline")


def test_a_blocked_camera_says_what_to_do(visit: Visit) -> None:
    page = visit()
    page.evaluate("""() => { navigator.mediaDevices.getUserMedia =
      () => Promise.reject(new DOMException("no", "NotAllowedError")); }""")
    page.click("#camera")
    page.wait_for_selector("#notice .error-box")
    assert "The camera is blocked" in page.locator("#notice").inner_text()


SHARP = """[...document.querySelectorAll('.card canvas')].map((canvas) => {
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  const opaque = data.filter((_, i) => i % 4 === 3).every((alpha) => alpha === 255);
  return opaque && new Set(data).size > 100; // a placeholder is one colour, on nothing
})"""


SUMMARISED = """async ([times, end]) => {
  const { summarise, frameAt } = await import("/assets/app/people.js");
  const face = { track: 1, probabilities: { happy: 0.9, sad: 0.1 } };
  const frames = times.map((time_s) => ({ time_s, faces: [face] }));
  const [person] = summarise(frames, 0.5, end);
  const late = frameAt(frames, times.at(-1) + 0.4 * times[1]);
  return [person.seen_s, person.last_s, person.fractions, late];
}"""


@pytest.mark.parametrize("rate", [0.1, 1, 5, 29.97, 240])
def test_people_are_summed_up_alike_at_any_rate(visit: Visit, rate: float) -> None:
    page = visit()
    times = [k / rate for k in range(max(round(12 * rate), 2))]
    for end in (None, times[-1] + 0.5 / rate):
        seen, last, fractions, at = page.evaluate(SUMMARISED, [times, end])
        expected = len(times) / rate if end is None else end
        assert (seen, last) == pytest.approx((expected, expected))
        assert fractions == {"happy": pytest.approx(1)}
        assert at["time_s"] == times[-1]


def test_people_are_summed_up_as_in_python(visit: Visit, rng: np.random.Generator) -> None:
    page = visit()
    for _ in range(8):
        steps = rng.choice([0.03, 0.1, 1.0, 7.0], 30, p=[0.4, 0.3, 0.2, 0.1])
        times = [0.0, *np.cumsum(steps).tolist()]
        pace: Pace[int] = Pace()
        standing = [s for k, t in enumerate(times) for s in pace.add(t, k)] + list(pace.finish())
        seen = page.evaluate(SUMMARISED, [times, None])[0]
        assert seen == pytest.approx(sum(s.seconds for s in standing))


def test_a_video_is_read_played_and_sought(visit: Visit, clip: Path) -> None:
    page = visit()
    page.set_input_files("#files", str(clip))
    page.wait_for_selector("#progress progress")
    page.wait_for_selector(".card")
    assert page.locator("#results-title").inner_text() == "2 people"
    # Each person's image is there from the start, of those too whom the video shows later.
    page.wait_for_function(f"() => {SHARP}.every(Boolean)")
    assert page.evaluate("document.querySelector('video').currentTime") == 0
    slider = page.locator("#timeline canvas[role=slider]")
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".overlay .box:nth-of-type(3)")  # two boxes, each before its panel
    assert float(slider.get_attribute("aria-valuenow")) > 1
    assert page.locator(".card .name").all_inner_texts()[1].startswith("Person 2")
    page.keyboard.press("Home")
    page.click("#sound")
    page.wait_for_selector("#sound:has-text('Sound on')")
    page.click("#play")
    page.wait_for_selector("#play:has-text('Pause')")
    answer = json.loads(downloaded(page, "json"))
    assert len({row["frame"] for row in answer["rows"]}) == 30
    shown = {person["track"]: person["fraction_of_time"] for person in answer["tracks"]}
    assert shown[1]["happy"] > 0.9
    assert shown[2]["neutral"] > 0.9


def test_a_video_can_be_cancelled(visit: Visit, clip: Path) -> None:
    page = visit()
    page.route("**/v1/video/*", lambda route: route.fulfill(
        json={"id": "x", "status": "running", "progress": 0.3, "error": None}
    ) if route.request.method == "GET" else route.fulfill(status=204))  # fmt: skip
    page.set_input_files("#files", str(clip))
    page.wait_for_selector("#progress:has-text('30%')")
    with page.expect_request(lambda r: r.method == "DELETE"):
        page.click("#cancel")
    assert "You cancelled the processing" in page.locator("#notice").inner_text()


def test_a_failed_video_says_why(visit: Visit, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(3000))
    page = visit()
    page.set_input_files("#files", str(broken))
    page.wait_for_selector("#notice .error-box")
    assert len(page.locator("#notice b").inner_text()) > 10
    page.wait_for_selector("#frame .blank")
