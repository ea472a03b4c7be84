"""Every form that people have images in is read like the file; the rest is refused clearly."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import ConfigError, Reader, Readings, SourceError
from mien.imaging.crop import WHOLE
from mien.imaging.load import as_pixels
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces

SIZE = (40, 30)
LEFT, RIGHT = (200, 100, 50), (10, 20, 250)


class Seeing(FakeDetector):
    """Finds the whole image, and keeps its pixels."""

    name, framing = "seeing", WHOLE

    def detect(self, image_hwc: np.ndarray) -> Faces:
        self.pixels = image_hwc
        height, width = image_hwc.shape[:2]
        return Faces(np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32))


@pytest.fixture
def seeing() -> Seeing:
    return Seeing()


@pytest.fixture
def reader(seeing: Seeing) -> Reader:
    return Reader(FakeClassifier(["happy"]), detector=seeing)


def test_a_pil_image_without_an_end_marker_is_read_like_its_file(
    tmp_path: Path, reader: Reader
) -> None:
    path = tmp_path / "cut.jpg"
    Image.effect_noise((64, 64), 40).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[:-2])
    with Image.open(path) as opened:
        for source in (path, opened, Image.open(io.BytesIO(path.read_bytes()))):
            reading = reader.read(source)
            assert reading.notes == ("the JPEG lacks its end marker; every pixel was there",)
            assert len(reading.faces) == 1


@pytest.fixture
def pixels() -> np.ndarray:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[:, : SIZE[0] // 2], image[:, SIZE[0] // 2 :] = LEFT, RIGHT
    return image


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def tensor(pixels: np.ndarray, how: str) -> Any:
    torch = pytest.importorskip("torch")
    values = torch.from_numpy(pixels.copy())
    if how.startswith("chw"):
        values = values.permute(2, 0, 1)
    if "float" in how:
        values = values / 255
    if "half" in how:
        values = values.bfloat16()
    return values.requires_grad_() if "grad" in how else values


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "array": lambda p: p,
    "read-only": lambda p: np.frombuffer(p.tobytes(), np.uint8).reshape(p.shape),
    "strided": lambda p: np.repeat(p, 2, axis=1)[:, ::2],
    "float": lambda p: p / 255,
    "float32": lambda p: (p / 255).astype(np.float32),
    "int64": lambda p: p.astype(int),
    "uint16": lambda p: p.astype(np.uint16) * 257,
    "rgba": lambda p: np.dstack([p, np.full(p.shape[:2], 255, np.uint8)]),
    "image": Image.fromarray,
    "image RGBA": lambda p: Image.fromarray(p).convert("RGBA"),
    "image P": lambda p: Image.fromarray(p).convert("P", palette=Image.Palette.ADAPTIVE),
    "bytes": lambda p: png(Image.fromarray(p)),
    "bytearray": lambda p: bytearray(png(Image.fromarray(p))),
    "memoryview": lambda p: memoryview(png(Image.fromarray(p))),
    "file": lambda p: io.BytesIO(png(Image.fromarray(p))),
    "tensor chw": lambda p: tensor(p, "chw"),
    "tensor hwc": lambda p: tensor(p, "hwc"),
    "tensor float": lambda p: tensor(p, "chw float"),
    "tensor grad": lambda p: tensor(p, "chw float grad"),
}


@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_the_same_image(
    form: str, reader: Reader, seeing: Seeing, pixels: np.ndarray
) -> None:
    given = FORMS[form](pixels)
    reading = reader.read(given)
    assert (reading.width, reading.height, len(reading.faces)) == (*SIZE, 1)
    assert np.array_equal(seeing.pixels, pixels)
    [one] = reader.read_many(FORMS[form](pixels))
    assert one == reading
    many = list(reader.read_many([FORMS[form](pixels), FORMS[form](pixels)]))
    assert many == [reading, reading]


def test_half_precision_tensors(reader: Reader, seeing: Seeing, pixels: np.ndarray) -> None:
    reader.read(tensor(pixels, "chw float half"))
    assert np.abs(seeing.pixels.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda g: g, "grey"),
        (lambda g: g[:, :, None], "grey"),
        (lambda g: Image.fromarray(g), "grey"),
        (lambda g: Image.fromarray(g.astype(np.uint16) * 257), "grey"),
        (lambda g: Image.fromarray(g.astype(np.float32)), "grey"),
        (lambda g: Image.fromarray(g).convert("LA"), "grey"),
        (lambda g: Image.fromarray(g).convert("LA").convert("La"), "grey"),
        (lambda g: g > 100, "mask"),
        (lambda g: Image.fromarray(g > 100), "mask"),
    ],
)
def test_grey_images(
    make: Callable[[np.ndarray], Any], expected: str, reader: Reader, seeing: Seeing
) -> None:
    grey = np.repeat(np.arange(0, 200, 5, dtype=np.uint8)[None], 30, axis=0)
    reader.read(make(grey))
    wanted = grey if expected == "grey" else (grey > 100) * np.uint8(255)
    assert np.array_equal(seeing.pixels, np.repeat(wanted[:, :, None], 3, axis=2))


def test_transparency_is_laid_on_white(reader: Reader, seeing: Seeing, pixels: np.ndarray) -> None:
    alpha = np.zeros(pixels.shape[:2], np.uint8)
    for given in (np.dstack([pixels, alpha]), Image.fromarray(np.dstack([pixels, alpha]))):
        reader.read(given)
        assert (seeing.pixels == 255).all()


def test_colours_in_opencvs_order(reader: Reader, seeing: Seeing, pixels: np.ndarray) -> None:
    reader.read(np.ascontiguousarray(pixels[:, :, ::-1]), channels="bgr")
    assert np.array_equal(seeing.pixels, pixels)
    bgra = np.dstack([pixels[:, :, ::-1], np.full(pixels.shape[:2], 255, np.uint8)])
    [_] = reader.read_many([bgra], channels="bgr")
    assert np.array_equal(seeing.pixels, pixels)
    reader.read(Image.fromarray(pixels), channels="bgr")  # it has an order of its own
    assert np.array_equal(seeing.pixels, pixels)
    for read in (reader.read, reader.read_many):
        with pytest.raises(ConfigError, match="channels must be 'rgb' or 'bgr', got 'gbr'"):
            read(pixels, channels="gbr")


def test_images_are_turned_as_their_exif_says(reader: Reader, seeing: Seeing) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(png(Image.new("RGB", (20, 10)), exif=exif)))
    reading = reader.read(image)
    assert (reading.width, reading.height) == (10, 20)
    assert image.size == (20, 10)  # what was given stays as it was


def test_a_cmyk_jpeg_and_a_pixel(reader: Reader, seeing: Seeing) -> None:
    for image in (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), Image.new("RGB", (1, 1), "red")):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG")
        reading = reader.read(buffer.getvalue())
        red, *others = seeing.pixels[0, 0].tolist()
        assert red > 200
        assert max(others) < 60
        assert reading.faces[0].box_inside == (0, 0, *image.size)


class Closed(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "there is no image: got None"),
        ("", "the path is empty"),
        (7, "an image must be a path, .* got int"),
        (["a.jpg"], "an image must be .* got list"),
        (b"", r"bytes is empty \(0 bytes\)"),
        (b"words", "bytes is not an image"),
        (io.BytesIO(), "file gives no bytes"),
        (io.StringIO("text"), "file is open as text"),
        (Closed(), "cannot read file: I/O operation on closed file"),
        (Image.open(io.BytesIO(png(Image.effect_noise((64, 64), 9))[:900])), "mode L, cannot be"),
        (Image.new("RGB", (0, 4)), "has no pixels"),
        ("ftp://example.org/a.jpg", "ftp://example.org/a.jpg is an address of a kind that"),
        (Path("rtsp://example.org/a.jpg"), "rtsp://example.org/a.jpg is an address"),
        ("file:///tmp/a.jpg", "file:///tmp/a.jpg is an address"),
        (Path("nowhere.jpg"), "cannot read nowhere.jpg: No such file"),
        ("nowhere.jpg", "cannot read nowhere.jpg: No such file"),
        (Path("x" * 400), "File name too long"),
        ("a\0b.jpg", "embedded null byte"),
    ],
)
def test_what_is_no_image_is_refused(given: object, message: str, reader: Reader) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        reader.read(given)
    assert caught.value.hint
    if isinstance(given, io.StringIO | io.BytesIO | list):
        return
    [bad, good] = reader.read_many([given, Image.new("RGB", SIZE)])
    assert caught.value.message in str(bad.error)
    assert good.error is None


@pytest.mark.parametrize("given", [None, 7, ""])
def test_no_image_by_itself_is_not_read_as_many(given: object, reader: Reader) -> None:
    with pytest.raises(SourceError):
        reader.read_many(given)


def test_a_folder_is_not_one_image(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(SourceError, match="is a folder, not an image") as caught:
        reader.read(tmp_path)
    assert "read_many" in caught.value.hint


@pytest.mark.parametrize("kind", [str, Path])
def test_a_single_path_is_one_source(kind: type, tmp_path: Path, reader: Reader) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    assert [r.source for r in reader.read_many(kind(tmp_path / "a.png"))] == [
        str(tmp_path / "a.png")
    ]
    assert [r.source for r in reader.read_many(kind(tmp_path))] == [str(tmp_path / "a.png")]
    [missing] = reader.read_many(kind(tmp_path / "b.png"))
    assert "No such file" in str(missing.error)


def test_a_generator_is_read_as_it_comes(reader: Reader, pixels: np.ndarray) -> None:
    drawn = 0

    def images() -> Iterator[object]:
        nonlocal drawn
        while True:
            drawn += 1
            yield pixels

    readings = reader.read_many(images())
    assert next(readings).source == "array"
    assert drawn < 200


def test_a_folder_with_videos_only_points_to_them(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    [reading] = reader.read_many([tmp_path])
    assert "holds no images, but 1 video;" in str(reading.error)


def test_an_animation_is_read_with_a_note(reader: Reader) -> None:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", SIZE, colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    reading = reader.read(buffer.getvalue())
    assert reading.notes == (
        "an animation: only its first frame was read; mien video reads them all",
    )
    assert reading.to_dict()["notes"] == list(reading.notes)


def test_names_in_results(tmp_path: Path, reader: Reader, pixels: np.ndarray) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    with path.open("rb") as file:
        given = [path, pixels, Image.fromarray(pixels), Image.open(path), path.read_bytes(), file]
        names = [reading.source for reading in Readings(reader.read_many(given))]
    assert names == [str(path), "array", "image", str(path), "bytes", str(path)]


def test_torch_is_not_imported_for_it() -> None:
    code = (
        "import sys, numpy as np; from mien import Reader\n"
        "from mien.testing import *\n"
        "Reader(FakeClassifier(), detector=FakeDetector()).read(np.zeros((9, 9), np.uint8))\n"
        "print([m for m in ('torch', 'pandas', 'IPython') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_arrays_are_not_changed(pixels: np.ndarray) -> None:
    before = pixels.copy()
    assert as_pixels(pixels, "bgr") is not pixels
    assert np.array_equal(pixels, before)
