"""Faces in images that are turned: found, and told in the image's own coordinates."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import ConfigError, Reader
from mien.imaging.boxes import overlap
from mien.imaging.codec import read_image
from mien.imaging.rotate import TURNS, turn_back, turn_image
from mien.predict.sinks.text import write_csv
from mien.testing import FakeClassifier, FakeDetector
from mien.types import Faces

BACK = {0: 0, 90: 270, 180: 180, 270: 90}


class Upright(FakeDetector):
    """Finds red patches that have blue above them; counts how often it looks."""

    name = "upright"
    parallel = True

    def __init__(self, score: float = 0.99) -> None:
        super().__init__()
        self.looks, self.score = 0, score

    def detect(self, image_hwc: np.ndarray) -> Faces:
        self.looks += 1
        red = image_hwc[:, :, 0] > 200
        rows, columns = np.nonzero(red)
        if not len(rows) or rows.min() < 2:
            return Faces.none()
        top, left, bottom, right = rows.min(), columns.min(), rows.max() + 1, columns.max() + 1
        if image_hwc[top - 1, (left + right) // 2, 2] < 200:
            return Faces.none()
        box = np.array([[left, top, right, bottom]], np.float32)
        marks = np.array([[[left, top]] * 5], np.float32)
        return Faces(box, np.full(1, self.score, np.float32), marks)


def scene() -> np.ndarray:
    """A face at (50, 40) to (62, 56) in 100 x 80 pixels."""
    image = np.full((80, 100, 3), 90, np.uint8)
    image[36:40, 50:62] = (0, 0, 255)
    image[40:56, 50:62] = (255, 0, 0)
    image[40:44, 50:54] = (255, 60, 60)  # its left upper corner
    return image


@pytest.mark.parametrize("degrees", TURNS)
def test_boxes_and_landmarks_come_back(degrees: int) -> None:
    image = turn_image(scene(), degrees)
    height, width = image.shape[:2]
    upright = turn_image(image, BACK[degrees])
    assert np.array_equal(upright, scene())
    faces = turn_back(Upright().detect(upright), BACK[degrees], width, height)
    x0, y0, x1, y1 = faces.boxes_xyxy[0].astype(int)
    red = image[:, :, 0] > 200
    assert red[y0:y1, x0:x1].all()
    assert red.sum() == (y1 - y0) * (x1 - x0)
    assert faces.landmarks_n52 is not None
    x, y = faces.landmarks_n52[0, 0]
    corner = image[:, :, 1] == 60
    rows, columns = np.nonzero(corner)
    assert columns.min() <= x <= columns.max() + 1
    assert rows.min() <= y <= rows.max() + 1


@pytest.mark.parametrize("rotate", ["auto", "fixed"])
@pytest.mark.parametrize("degrees", TURNS)
def test_a_turned_face_is_read_like_an_upright_one(degrees: int, rotate: str) -> None:
    image = turn_image(scene(), degrees)
    classifier = FakeClassifier(["sad"])
    setting = str(BACK[degrees]) if rotate == "fixed" else "auto"
    reading = Reader(classifier, detector=Upright(), rotate=setting).read(image)
    assert (reading.width, reading.height) == image.shape[1::-1]
    assert reading.turn == reading.to_dict()["turn"] == BACK[degrees]
    x0, y0, x1, y1 = reading.faces[0].box_inside
    assert (image[y0:y1, x0:x1, 0] == 255).all()
    Reader(classifier, detector=Upright()).read(scene())
    assert np.array_equal(classifier.seen[0], classifier.seen[1])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_obeyed_before(orientation: int, tmp_path: Path) -> None:
    """Stored so that it is displayed upright, and displayed upside down."""
    back = {2: 0, 3: 1, 4: 2, 5: 3, 6: 4, 7: 5, 8: 6}
    undo = [
        Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180,
        Image.Transpose.FLIP_TOP_BOTTOM, Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90,
        Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_270,
    ]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for turn in (0, 180):
        shown = Image.fromarray(turn_image(scene(), turn))
        stored = shown if orientation == 1 else shown.transpose(undo[back[orientation]])
        stored.save(tmp_path / "a.png", exif=exif)
        assert np.array_equal(read_image(tmp_path / "a.png"), np.asarray(shown))
        reader = Reader(FakeClassifier(), detector=Upright(), rotate="auto")
        reading = reader.read(tmp_path / "a.png")
        assert (reading.turn, len(reading.faces)) == (turn, 1)


def test_upright_images_are_looked_at_once_and_unsure_ones_again() -> None:
    sure, unsure = Upright(), Upright(score=0.7)
    for detector, looks in ((sure, 1), (unsure, 4)):
        reading = Reader(FakeClassifier(), detector=detector, rotate="auto").read(scene())
        assert (reading.turn, len(reading.faces), detector.looks) == (0, 1, looks)


def test_an_image_without_a_face_is_not_turned() -> None:
    blank = np.full((30, 40, 3), 90, np.uint8)
    reading = Reader(FakeClassifier(), detector=Upright(), rotate="auto").read(blank)
    assert (reading.turn, reading.faces, reading.width) == (0, [], 40)


def test_faces_stay_in_order_from_left_to_right() -> None:
    class Two(FakeDetector):
        def detect(self, image_hwc: np.ndarray) -> Faces:
            boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9]], np.float32)
            return Faces(boxes, np.ones(2, np.float32))

    classifier = FakeClassifier(["happy", "sad"])
    reader = Reader(classifier, detector=Two(), rotate=180)
    reading = reader.read(np.arange(40, dtype=np.uint8)[None].repeat(30, axis=0))
    assert [face.box_inside[0] for face in reading.faces] == [11, 31]
    means = classifier.seen[0].mean(axis=(1, 2))
    assert means[0] < means[1]  # the crops go with their boxes


@pytest.mark.parametrize("name", ["astronaut.jpg", "grace_hopper.jpg"])
@pytest.mark.parametrize("mirrored", [False, True])
def test_real_portraits_by_all_turns(examples: Path, name: str, mirrored: bool) -> None:
    image = read_image(examples / name)
    image = np.ascontiguousarray(image[:, ::-1]) if mirrored else image
    height, width = image.shape[:2]
    reader = Reader(rotate="auto", threads=1)
    [face] = reader.read(image).faces
    for degrees in TURNS[1:]:
        reading = reader.read(turn_image(image, degrees))
        [turned] = reading.faces
        assert (reading.turn, turned.label) == (BACK[degrees], face.label)
        box = Faces(np.array([turned.box], np.float32), np.ones(1, np.float32))
        [back] = turn_back(box, degrees, width, height).boxes_xyxy
        assert overlap(back, np.array([face.box], np.float32))[0] > 0.99


@pytest.mark.parametrize("rotate", [45, "left", True, None, 360, -90])
def test_other_turns_are_refused(rotate: object) -> None:
    with pytest.raises(ConfigError, match="rotate must be 'auto' or one of 0, 90, 180, 270"):
        Reader(FakeClassifier(), detector=FakeDetector(), rotate=rotate)  # type: ignore[arg-type]


def test_whole_images_can_be_turned_but_not_by_themselves() -> None:
    with pytest.raises(ConfigError, match="rotate='auto' needs faces='find'"):
        Reader(FakeClassifier(), faces="whole", rotate="auto")
    reading = Reader(FakeClassifier(), faces="whole", rotate="90").read(
        np.zeros((20, 30), np.uint8)
    )
    assert (reading.turn, reading.faces[0].box) == (90, (0, 0, 30, 20))


def test_csv_has_the_turn_and_notes() -> None:
    image = turn_image(scene(), 90)
    reading = Reader(FakeClassifier(), detector=Upright(), rotate="auto").read(image)
    stream = io.StringIO()
    write_csv([reading], ("happy", "neutral", "sad"), stream)
    [row] = csv.DictReader(io.StringIO(stream.getvalue()))
    assert (row["turn"], row["notes"], row["error"], row["face"]) == ("270", "", "", "0")
