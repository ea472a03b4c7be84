"""Readings drawn, shown, saved, as HTML and as data frames."""

from __future__ import annotations

import base64
import gc
import io
import logging
import re
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageShow

from mien import ConfigError, ImageReading, MissingExtraError, Reader, Readings, SourceError
from mien.imaging.boxes import clip_box
from mien.imaging.notebook import MAX_FACES, MAX_IMAGES
from mien.testing import FakeClassifier, FakeDetector

BOX = (10.0, 12.0, 60.0, 62.0)


@pytest.fixture
def reader() -> Reader:
    return Reader(FakeClassifier(["happy"]), detector=FakeDetector([BOX]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    Image.new("RGB", (300, 200), (90, 90, 90)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("form", ["path", "bytes", "array", "image"])
def test_annotated_images(form: str, path: Path, reader: Reader) -> None:
    image = Image.open(path)
    forms = {"path": path, "bytes": path.read_bytes(), "array": np.asarray(image), "image": image}
    given = forms[form]
    reading = reader.read(given)
    drawn = reading.annotate()
    assert drawn.shape == (200, 300, 3)
    assert drawn.dtype == np.uint8
    assert np.array_equal(drawn, reading.annotate(given))
    assert (drawn != 90).any()
    assert (np.asarray(Image.open(path)) == 90).all()


def test_an_array_is_not_kept_alive(reader: Reader) -> None:
    pixels = np.full((200, 300, 3), 90, np.uint8)
    reading = reader.read(pixels)
    before = reading.annotate()
    del pixels
    gc.collect()
    with pytest.raises(SourceError, match="'array' is not kept in memory") as caught:
        reading.annotate()
    assert "annotate(image)" in caught.value.hint
    assert np.array_equal(reading.annotate(np.full((200, 300, 3), 90, np.uint8)), before)
    assert "<img" not in reading._repr_html_()


def test_another_image_is_refused(reader: Reader) -> None:
    reading = reader.read(np.zeros((200, 300), np.uint8))
    with pytest.raises(SourceError, match="the image is 20 x 10 pixels; 'array' was 300 x 200"):
        reading.annotate(np.zeros((10, 20), np.uint8))


def test_saved_images(path: Path, tmp_path: Path, reader: Reader) -> None:
    reading = reader.read(path)
    assert reading.save(str(tmp_path / "new" / "b.png")) == tmp_path / "new" / "b.png"
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "b.png")), reading.annotate())
    with pytest.raises(ConfigError, match="cannot write an image to b.txt"):
        reading.save(tmp_path / "b.txt")
    path.unlink()
    with pytest.raises(SourceError, match="No such file"):
        reading.save(tmp_path / "c.png")


def test_shown_in_a_viewer_or_a_notebook(
    monkeypatch: pytest.MonkeyPatch, path: Path, reader: Reader
) -> None:
    shown: list[Image.Image] = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    reading = reader.read(path)
    with pytest.raises(SourceError, match="no screen or no viewer"):
        reading.show()
    monkeypatch.setenv("DISPLAY", ":0")

    def show(image: Image.Image, title: str) -> bool:
        assert title == str(path)
        shown.append(image)
        return True

    monkeypatch.setattr(ImageShow, "show", show)
    reading.show()
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=1)  # type: ignore[attr-defined]
    ipython.display = types.SimpleNamespace(display=shown.append)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    reading.show()
    assert [np.array_equal(np.asarray(s), reading.annotate()) for s in shown] == [True, True]
    monkeypatch.delitem(sys.modules, "IPython")
    monkeypatch.setattr(ImageShow, "show", lambda image, title: False)
    with pytest.raises(SourceError, match="no viewer"):
        reading.show()


def test_html_is_escaped_and_bounded(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "<script>alert(1)&.png"
    noise = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    html = reader.read(path)._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;alert(1)&amp;.png" in html
    assert "happy" in html
    encoded = re.search(r"base64,([^\"]+)", html)
    assert encoded
    thumbnail = Image.open(io.BytesIO(base64.b64decode(encoded.group(1))))
    assert thumbnail.size == (480, 270)
    assert len(html) < 200_000
    crowd = Reader(FakeClassifier(["sad"]), detector=FakeDetector([BOX] * 30)).read(noise)
    assert crowd._repr_html_().count("<tr>") == MAX_FACES + 1
    assert "and 10 more faces" in crowd._repr_html_()
    several = Readings([crowd] * (MAX_IMAGES + 3))._repr_html_()
    assert several.count("<img") == MAX_IMAGES
    assert "and 3 more readings" in several


def test_html_of_no_face_and_no_image(reader: Reader) -> None:
    bad = ImageReading("<b>", 0, 0, "", "", error="it is <broken>")
    assert "it is &lt;broken&gt;" in bad._repr_html_()
    blank = np.zeros((20, 20), np.uint8)
    html = Reader(FakeClassifier(), detector=FakeDetector()).read(blank)._repr_html_()
    assert "no face" in html
    assert "<table" not in html


def test_data_frames(path: Path, tmp_path: Path, reader: Reader) -> None:
    pandas = pytest.importorskip("pandas")
    several = Readings(reader.read_many([path, tmp_path / "none.png", path]))
    frame = several.to_pandas()
    assert list(frame.columns) == [
        "source", "width", "height", "detector", "model", "face", "x0", "y0", "x1", "y1", "score",
        "label", "confidence", "p_happy", "p_neutral", "p_sad", "turn", "notes", "error",
    ]  # fmt: skip
    assert frame["label"].tolist()[::2] == ["happy", "happy"]
    assert frame["face"].isna().tolist() == [False, True, False]
    assert "No such file" in frame["error"][1]
    one = several[0].to_pandas()
    pandas.testing.assert_frame_equal(one, Readings([several[0]]).to_pandas())
    assert one[["x0", "y0", "x1", "y1"]].iloc[0].tolist() == list(BOX)
    assert len(Readings().to_pandas()) == 0


def test_data_frames_without_pandas(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="a data frame needs pandas") as caught:
        reader.read(np.zeros((20, 20), np.uint8)).to_pandas()
    assert caught.value.hint == "install it: pip install pandas"


def test_short_words_for_what_is_printed(path: Path, reader: Reader) -> None:
    reading = reader.read(path)
    assert repr(reading.faces[0]) == "FaceReading('happy', 0.90, box=(10, 12, 60, 62))"
    assert repr(reading) == f"ImageReading({str(path)!r}, 300x200, faces={reading.faces!r})"
    assert repr(ImageReading("a", 0, 0, "", "", error="no")) == (
        "ImageReading('a', 0x0, error='no')"
    )
    assert repr(reader) == ("Reader('fake', labels=['happy', 'neutral', 'sad'], detector='fake')")
    other = Reader(FakeClassifier(), faces="whole", min_confidence=0.4, rotate=90, threads=2)
    assert repr(other) == (
        "Reader('fake', labels=['happy', 'neutral', 'sad'], detector='whole', "
        "min_confidence=0.4, rotate=90, threads=2)"
    )


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((10.2, 20.7, 30.1, 40.0), (10, 20, 31, 40)),
        ((-30, 69, 45, 172), (0, 69, 45, 100)),
        ((-30, -20, -3, -2), (0, 0, 1, 1)),
        ((205.5, 101, 300, 400), (199, 99, 200, 100)),
        ((50, 50, 50, 50), (50, 50, 51, 51)),
        ((-5, -5, 900, 900), (0, 0, 200, 100)),
        ((199.5, 99.5, 199.9, 99.9), (199, 99, 200, 100)),
    ],
)
def test_slicing_with_a_clipped_box_is_never_empty(
    box: tuple[float, float, float, float], inside: tuple[int, int, int, int]
) -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    assert clip_box(box, 200, 100) == inside
    face = Reader(FakeClassifier(), detector=FakeDetector([box])).read(pixels).faces[0]
    assert face.box == pytest.approx(box)
    assert face.box_inside == inside
    left, top, right, bottom = face.box_inside
    assert pixels[top:bottom, left:right].size > 0


def test_what_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    (tmp_path / "a.jpg").write_bytes(b"no image")
    with caplog.at_level(logging.DEBUG, "mien"):
        list(Reader(detector=FakeDetector()).read_many([tmp_path]))
    words = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert all(r.name.startswith("mien.") for r in caplog.records)
    assert any(level == "DEBUG" and "opened mien-small.onnx" in text for level, text in words)
    assert ("INFO", f"{tmp_path}: 1 file has no image suffix: notes.txt") in words
    assert any(level == "WARNING" and "a.jpg is not an image" in text for level, text in words)


def test_nothing_is_said_where_nobody_listens() -> None:
    code = "from mien import Reader; print(list(Reader().read_many(['none.jpg']))[0].error)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "none.jpg" in done.stdout
    assert done.stderr == ""
