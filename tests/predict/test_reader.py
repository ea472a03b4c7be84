from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from mien import UNSURE, ConfigError, Reader, SourceError
from mien.imaging.codec import read_image, write_image
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces

BOX = (10.0, 10.0, 60.0, 60.0)


def save(path: Path, level: int = 100) -> Path:
    pixels = np.full((80, 120, 3), level, np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, pixels)
    return path


def test_examples_with_the_shipped_model(examples: Path) -> None:
    reading = Reader().read(examples / "astronaut.jpg")
    assert (reading.width, reading.height) == (512, 512)
    assert (reading.detector, reading.model) == ("yunet", "mien-small")
    [face] = reading.faces
    assert face.label == "happy"
    assert face.confidence > 0.8
    assert sum(face.probabilities.values()) == pytest.approx(1, abs=1e-4)
    hopper = Reader().read(str(examples / "grace_hopper.jpg"))
    assert [f.label for f in hopper.faces] == ["neutral"]


def test_a_path_and_its_pixels_are_read_alike(examples: Path) -> None:
    reader = Reader()
    path = examples / "astronaut.jpg"
    from_array = reader.read(read_image(path))
    assert from_array.source == "array"
    assert from_array.faces == reader.read(path).faces


def test_what_is_read_does_not_depend_on_what_else_is_read(examples: Path, tmp_path: Path) -> None:
    reader = Reader(threads=1)
    blank = save(tmp_path / "blank.png")
    paths = [examples / "astronaut.jpg", blank, examples / "grace_hopper.jpg"]
    together = list(reader.read_many(paths))
    for path, reading in zip(paths, together, strict=True):
        alone = reader.read(path)
        assert alone.source == reading.source
        for one, other in zip(alone.faces, reading.faces, strict=True):
            assert one.box == other.box
            assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


def test_no_face_is_a_result(tmp_path: Path) -> None:
    reading = Reader().read(save(tmp_path / "blank.png"))
    assert reading.faces == []
    assert reading.error is None


def test_whole_images_are_their_own_faces() -> None:
    reader = Reader(FakeClassifier(["sad"]), faces="whole")
    reading = reader.read(np.full((30, 20), 7, np.uint8))
    assert [f.box for f in reading.faces] == [(0, 0, 20, 30)]
    assert reading.detector == "whole"


def test_unreadable_images_are_results_in_their_place(tmp_path: Path) -> None:
    good = save(tmp_path / "in" / "b.png")
    (tmp_path / "in" / "a.jpg").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("not an image")
    save(tmp_path / "in" / ".hidden" / "c.png")
    (tmp_path / "nothing").mkdir()
    reader = Reader(FakeClassifier(), detector=FakeDetector([BOX]))
    paths = [tmp_path / "none.png", tmp_path / "in", tmp_path / "nothing", good]
    readings = list(reader.read_many(paths))
    assert [Path(r.source).name for r in readings] == [
        "none.png", "a.jpg", "b.png", "nothing", "b.png",
    ]  # fmt: skip
    assert [len(r.faces) for r in readings] == [0, 0, 1, 0, 1]
    errors = [r.error or "" for r in readings]
    assert "No such file" in errors[0]
    assert "is empty (0 bytes)" in errors[1]
    assert "holds no images" in errors[3]


def test_faces_of_many_images_share_batches_and_keep_their_order(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{i:03d}.png", level=i) for i in range(70)]
    classifier = FakeClassifier(["happy", "sad", "neutral"])
    reader = Reader(classifier, detector=FakeDetector([BOX, BOX]))
    readings = list(reader.read_many(paths))
    labels = [face.label for reading in readings for face in reading.faces]
    assert labels == (["happy", "sad", "neutral"] * 47)[:140]
    assert len(classifier.seen) < 10
    levels = np.concatenate(classifier.seen)[::2, 0, 0]
    assert levels.tolist() == list(range(70))


@pytest.mark.parametrize(
    ("own", "given", "label"), [(0.0, None, "happy"), (0.7, None, UNSURE), (0.7, 0.5, "happy"),
                                (0.0, 0.61, UNSURE), (0.0, 0.6, "happy")]
)  # fmt: skip
def test_unsure_below_the_threshold(own: float, given: float | None, label: str) -> None:
    classifier = FakeClassifier(["happy"], confidence=0.6 + 1e-6, unsure_below=own)
    reader = Reader(classifier, detector=FakeDetector([BOX]), min_confidence=given)
    [face] = reader.read(np.zeros((80, 80, 3), np.uint8)).faces
    assert face.label == label
    assert face.confidence == pytest.approx(0.6, abs=1e-4)


@pytest.mark.parametrize(
    ("array", "got"),
    [
        (np.full((8, 8, 3), 1.5, np.float32), r"float32 \[8, 8, 3\]"),
        (np.full((8, 8), np.nan), r"float64 \[8, 8\]"),
        (np.full((8, 8), 256), r"int64 \[8, 8\]"),
        (np.full((8, 8), -1), r"int64 \[8, 8\]"),
        (np.full((8, 8), 1j), r"complex128 \[8, 8\]"),
        (np.full((8, 8), None), r"object \[8, 8\]"),
        (np.zeros((2, 8, 8, 3), np.uint8), r"uint8 \[2, 8, 8, 3\]"),
        (np.zeros((8, 8, 5), np.uint8), r"uint8 \[8, 8, 5\]"),
        (np.zeros((3, 8, 8), np.uint8), r"uint8 \[3, 8, 8\]"),
        (np.zeros((0, 8, 3), np.uint8), r"uint8 \[0, 8, 3\]"),
        (np.zeros(8, np.uint8), r"uint8 \[8\]"),
    ],
)
def test_arrays_of_another_form(array: np.ndarray, got: str) -> None:
    reader = Reader(FakeClassifier(), detector=FakeDetector())
    with pytest.raises(SourceError, match=f"got {got}"):
        reader.read(array)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"faces": "hole"}, "faces must be 'find' or 'whole', got 'hole'"),
        ({"min_confidence": 1.5}, "min_confidence: 1.5 is out of range 0 to 1"),
        ({"threads": -1}, "threads: -1 is out of range 0 to 256"),
        ({"threads": 100_000}, "threads: 100000 is out of range 0 to 256"),
        ({"detector": "mtccn"}, "no face detector is called 'mtccn'"),
    ],
)
def test_settings_out_of_range(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Reader(FakeClassifier(), **options)  # type: ignore[arg-type]


def test_images_in_threads_come_in_order_and_alike(examples: Path, tmp_path: Path) -> None:
    """Also unreadable ones; and threads end where nobody asks for more."""
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    paths = [examples / "astronaut.jpg", tmp_path / "bad.jpg", examples / "grace_hopper.jpg"] * 4
    alone = list(Reader(threads=1).read_many(paths))
    together = list(Reader(threads=3).read_many(paths))
    assert [r.to_dict() for r in together] == [r.to_dict() for r in alone]
    readings = Reader(threads=2).read_many(paths * 10)
    assert next(readings).source == str(paths[0])
    readings.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith("mien-images")]


def test_a_detector_that_allows_one_image_at_a_time_gets_one(examples: Path) -> None:
    class Alone(FakeDetector):
        def detect(self, image_hwc: np.ndarray) -> Faces:
            assert threading.current_thread() is threading.main_thread()
            return super().detect(image_hwc)

    reader = Reader(FakeClassifier(), detector=Alone([(0, 0, 9, 9)]), threads=4)
    assert [len(r.faces) for r in reader.read_many([examples])] == [1, 1]


class WatchedDetector(FakeDetector):
    """Finds one box, given as fractions of the image; knows the sizes of what it saw."""

    enough_pixels = 200_000
    finds = True

    def __init__(self, left: float, top: float, right: float, bottom: float) -> None:
        super().__init__()
        self.fractions, self.seen = (left, top, right, bottom), list[tuple[int, int]]()

    def detect(self, image_hwc: np.ndarray) -> Faces:
        height, width = image_hwc.shape[:2]
        self.seen.append((width, height))
        self.boxes = np.array([self.fractions], np.float32) * (width, height, width, height)
        return super().detect(image_hwc) if self.finds else Faces.none()


def save_noise(path: Path, size: tuple[int, int] = (1600, 1200)) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    write_image(path, noise)
    return path


@pytest.mark.parametrize("by", ["path", "bytes", "many"])
def test_a_large_jpeg_with_large_faces_is_never_decoded_whole(by: str, tmp_path: Path) -> None:
    path = save_noise(tmp_path / "large.jpg")
    detector = WatchedDetector(0.25, 0.25, 0.75, 0.75)
    reader = Reader(FakeClassifier(["happy"]), detector=detector)
    image = path.read_bytes() if by == "bytes" else path
    reading = next(reader.read_many([path])) if by == "many" else reader.read(image)
    assert detector.seen == [(400, 300)]
    assert (reading.width, reading.height) == (1600, 1200)
    assert reading.faces[0].box == (400, 300, 1200, 900)
    assert reading.annotate().shape == (1200, 1600, 3)


def test_a_large_jpeg_with_a_small_face_is_read_from_all_its_pixels(tmp_path: Path) -> None:
    path = save_noise(tmp_path / "large.jpg")
    detector = WatchedDetector(0.25, 0.25, 0.35, 0.35)
    reader = Reader(FakeClassifier(["happy"]), detector=detector)
    of_path, of_pixels = reader.read(path), reader.read(read_image(path))
    assert detector.seen == [(400, 300), (1600, 1200), (1600, 1200)]
    assert of_path.faces == of_pixels.faces


def test_a_large_jpeg_without_a_large_face_is_read_from_all_its_pixels(tmp_path: Path) -> None:
    detector = WatchedDetector(0, 0, 1, 1)
    detector.finds = False
    reader = Reader(FakeClassifier(["happy"]), detector=detector)
    assert reader.read(save_noise(tmp_path / "large.jpg")).faces == []
    assert detector.seen == [(400, 300), (1600, 1200)]


def test_other_images_are_decoded_whole(tmp_path: Path) -> None:
    detector = WatchedDetector(0.25, 0.25, 0.75, 0.75)
    reader = Reader(FakeClassifier(["happy"]), detector=detector)
    reader.read(save_noise(tmp_path / "small.jpg", (500, 400)))
    reader.read(save_noise(tmp_path / "large.png"))
    detector.enough_pixels = 0
    reader.read(save_noise(tmp_path / "large.jpg"))
    assert detector.seen == [(500, 400), (1600, 1200), (1600, 1200)]
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((tmp_path / "large.jpg").read_bytes()[:-9000])
    with pytest.raises(SourceError, match="damaged"):
        reader.read(cut)
