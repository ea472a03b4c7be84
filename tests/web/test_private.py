"""Private mode: the same answers as Python gives, and nothing sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from mien import Reader
from mien.imaging.crop import Framing, crop_faces
from mien.types import Faces
from mien.video.track import Tracker
from tests.web.conftest import downloaded

Visit = Callable[..., Any]


def as_raster(pixels: np.ndarray[Any, Any]) -> dict[str, Any]:
    height, width = pixels.shape[:2]
    bands = pixels.size // (height * width)
    return {"data": pixels.ravel().tolist(), "offset": 0, "line": width * bands, "step": bands,
            "bands": bands, "width": width, "height": height}  # fmt: skip


def test_pixels_are_resampled_as_pillow_does(visit: Visit, rng: np.random.Generator) -> None:
    cases, expected = [], []
    for number in range(80):
        height, width, new_height, new_width = (int(v) for v in rng.integers(2, 90, 4))
        shape = (height, width, 3) if number % 2 else (height, width)
        image = Image.fromarray(rng.integers(0, 256, shape, np.uint8))
        box = (0.0, 0.0, float(width), float(height))
        if number % 4 == 0:
            x, y = rng.random(2) * (width / 3, height / 3)
            box = (x, y, x + width * 0.6, y + height * 0.6)
        gap = 2.0 if number % 3 == 0 else None
        fx, fy = (int(v) for v in rng.integers(1, 6, 2))
        size = (new_width, new_height)
        small = image.resize(size, Image.Resampling.BILINEAR, box, gap)
        expected.append((small.tobytes(), image.reduce((fx, fy)).tobytes()))
        cases.append([as_raster(np.asarray(image)), *size, box, gap or 0, fx, fy])
    got = visit().evaluate(
        """async (cases) => {
        const { resize, reduce } = await import("/assets/app/private/resample.js");
        return cases.map(([source, width, height, box, gap, fx, fy]) =>
          [resize(source, width, height, box, gap), reduce(source, fx, fy)]
            .map(({ data }) => [...data]));
    }""",
        cases,
    )
    major = int(PIL.__version__.split(".")[0])
    tolerance = 0 if major >= 13 else 1  # before, Pillow went across first, always
    for ours, theirs in zip(got, expected, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            difference = np.abs(np.array(one) - np.frombuffer(other, np.uint8))
            assert difference.max() <= tolerance


def test_faces_are_cropped_as_in_training(visit: Visit, rng: np.random.Generator) -> None:
    framing = Framing(0.95, 0.015, 0.0)
    cases, expected = [], []
    for number in range(40):
        height, width = (int(v) for v in rng.integers(40, 150, 2))
        image = rng.integers(0, 256, (height, width, 3), np.uint8)
        corner = rng.uniform(-15, 40, 2)
        box = np.array([*corner, *(corner + rng.uniform(5, 110, 2))], np.float32)
        if number == 0:
            box = np.array([3, 4, 51, 52], np.float32)
        expected.append(crop_faces(image, box[None], framing, 48)[0])
        cases.append([as_raster(image), [float(v) for v in box]])
    got = visit().evaluate(
        """async (cases) => {
        const { cropFace } = await import("/assets/app/private/align.js");
        const framing = { scale: 0.95, shiftX: 0.015, shiftY: 0 };
        return cases.map(([source, box]) => [...cropFace(source, box, framing, 48)]);
    }""",
        cases,
    )
    for ours, theirs in zip(got, expected, strict=True):
        assert np.abs(np.array(ours) - theirs.ravel().astype(int)).max() <= 1


def test_people_are_followed_as_in_python(visit: Visit, rng: np.random.Generator) -> None:
    looks = rng.integers(0, 256, (3, 48, 48), np.uint8)
    frames = []
    for step in range(60):  # two cross, a third comes, hides for a while, and goes
        t = step * 0.2
        places = [(100 + 22 * t, 120), (340 - 22 * t, 130), (200 + 9 * t, 300)]
        seen = [0, 1] + [2] * (5 < step < 20 or 23 < step < 40)
        boxes = [[x, y, x + 60 + i, y + 75] for i, (x, y) in enumerate(places)]
        jitter = rng.normal(0, 1, (3, 4))
        frames.append((t, [(i, (np.array(boxes[i]) + jitter[i]).astype(np.float32)) for i in seen]))
    tracker, expected = Tracker(1.0), []
    for t, found in frames:
        faces = Faces(np.stack([b for _, b in found]), np.full(len(found), 0.95, np.float32))
        people = tracker.update(faces, t, looks[[i for i, _ in found]])
        for person in people:
            tracker.confirm(person)
        expected.append([(p.number, p.box().tolist()) for p in people])
    plain = [[t, [[i, b.tolist()] for i, b in found]] for t, found in frames]
    got = visit().evaluate(
        """async ([frames, looks]) => {
        const { Tracker } = await import("/assets/app/private/tracker.js");
        const tracker = new Tracker(1);
        return frames.map(([time, found]) => {
          const sightings = found.map(([i, box]) => ({ box, score: 0.95, crop: looks[i] }));
          const people = tracker.update(sightings, time);
          people.forEach((person) => tracker.confirm(person));
          return people.map((person) => [person.track, person.box()]);
        });
    }""",
        [plain, looks.reshape(3, -1).tolist()],
    )
    for ours, theirs in zip(got, expected, strict=True):
        assert [track for track, _ in ours] == [track for track, _ in theirs]
        for (_, one), (_, other) in zip(ours, theirs, strict=True):
            assert one == pytest.approx(other, abs=0.05)


def test_the_answers_are_the_servers(private: Visit, examples: Path, tmp_path: Path) -> None:
    reader = Reader()
    page = private()
    for name in ("astronaut", "grace_hopper"):
        pixels = tmp_path / f"{name}.png"  # so that both see the same pixels
        Image.open(examples / f"{name}.jpg").convert("RGB").save(pixels)
        page.set_input_files("#files", str(pixels))
        page.wait_for_selector(f"#stage-title:has-text('{name}')")
        page.wait_for_selector(".card")
    images = json.loads(downloaded(page, "json"))["images"]
    for image in images:
        expected = reader.read(tmp_path / image["source"]).to_dict()
        assert [image["width"], image["height"]] == [expected["width"], expected["height"]]
        assert len(image["faces"]) == len(expected["faces"]) == 1
        ours, theirs = image["faces"][0], expected["faces"][0]
        assert ours["label"] == theirs["label"]
        assert ours["box"] == pytest.approx(theirs["box"], abs=0.11)
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-3)
        assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-3)


def test_nothing_is_sent(private: Visit, examples: Path, clip: Path) -> None:
    page = private()
    sent: list[str] = []
    page.on("request", lambda r: sent.extend([] if r.url.startswith("blob:") else [r.url]))
    page.on("websocket", lambda s: sent.append(s.url))
    page.context.set_offline(True)
    page.set_input_files("#files", str(examples / "astronaut.jpg"))
    page.wait_for_selector(".card")
    page.click("#again")
    page.click("#camera")
    page.wait_for_selector(".card .name:has-text('Person 1: happy')")
    page.click("#stop")
    page.set_input_files("#files", str(clip))
    page.wait_for_selector("#timeline canvas[role=slider]")
    assert page.locator("#results-title").inner_text() == "2 people"
    assert sent == []
    assert "sent nowhere" in page.locator("#where-note").inner_text()


def test_a_bookmark_keeps_it_private(private: Visit, visit: Visit) -> None:
    page = private()
    assert page.url.endswith("/#private")
    page = visit("/#private")
    assert page.is_checked("[name=where][value=private]")
    assert page.get_attribute("body", "data-private") == "on"
    page.check("[name=where][value=server]")
    assert not page.url.endswith("#private")


def test_without_its_files_the_page_says_what_it_needs(visit: Visit, examples: Path) -> None:
    page = visit()
    page.route("**/vendor/*.wasm", lambda route: route.fulfill(status=404, body="{}"))
    page.check("[name=where][value=private]")
    page.wait_for_selector("#where-note.bad")
    assert "make web" in page.locator("#where-note").inner_text()
    assert page.is_checked("[name=where][value=server]")
    page.set_input_files("#files", str(examples / "astronaut.jpg"))  # the server still reads
    page.wait_for_selector(".card")
