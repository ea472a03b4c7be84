"""Which faces are read: heads turned in space, and each other reason, both ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from tests.video.clips import write_clip

from mien import Reader
from mien.imaging.codec import read_image
from mien.imaging.crop import WHOLE, crop_faces
from mien.imaging.pose import head_pose
from mien.predict.detectors.mtcnn import Mtcnn
from mien.testing import FakeClassifier
from mien.types import Faces
from mien.video.plan import VideoSettings
from mien.video.quality import BLURRED, GOOD, TURNED, QualityGate, sharpness

# Eyes, nose and corners of the mouth of a head that looks at us, in millimetres to the right,
# downwards and towards us; round figures of adults (interpupillary distance 63, nose 2 cm out).
HEAD = np.array(
    [[-31.5, -35, 0], [31.5, -35, 0], [0, 5, 22], [-25, 38, 4], [25, 38, 4]], np.float64
)


def seen(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> NDArray[np.float32]:
    """Return the landmarks of the head, turned by degrees, in an image from 60 cm away."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    x, y, z = (HEAD @ about_x.T @ about_y.T @ about_z.T).T
    scale = 600 / (600 - z)
    return np.stack([100 + x * scale, 100 + y * scale], axis=1).astype(np.float32)


def judge(landmarks: NDArray[np.float32]) -> str:
    box = np.array([50, 40, 150, 160], np.float32)
    crop = np.random.default_rng(0).integers(0, 255, (48, 48), dtype=np.uint8)
    return QualityGate().judge(box, (200, 200), crop, head_pose(landmarks))


@pytest.mark.parametrize("side", [-1, 1])
def test_a_head_turned_far_is_not_read_and_one_turned_a_little_is(side: int) -> None:
    for degrees in (0, 10, 20, 30):
        assert judge(seen(yaw=side * degrees)) == GOOD, degrees
    for degrees in (55, 65, 75):
        assert judge(seen(yaw=side * degrees)) == TURNED, degrees


@pytest.mark.parametrize("roll", [-60, -30, 30, 60, 90, 180])
def test_a_tilted_head_is_not_a_turned_one(roll: float) -> None:
    assert judge(seen(roll=roll)) == GOOD
    assert judge(seen(yaw=65, roll=roll)) == TURNED


@pytest.mark.parametrize("pitch", [-25, 25])
def test_nodding_is_not_turning(pitch: float) -> None:
    assert judge(seen(pitch=pitch)) == GOOD
    assert judge(seen(yaw=65, pitch=pitch)) == TURNED


def test_eyes_in_one_place_are_a_turned_head() -> None:
    marks = seen()
    marks[1] = marks[0]
    assert judge(marks) == TURNED


class Turning:
    """Finds one face whose head turns away and back: 10 degrees a frame, from -90 to 90."""

    name, framing = "turning", WHOLE

    def __init__(self) -> None:
        self.yaw = -90.0

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        marks = seen(yaw=self.yaw)[None] * 0.3
        self.yaw += 10
        box = np.array([[15, 12, 45, 48]], np.float32)
        return Faces(box, np.ones(1, np.float32), marks.astype(np.float32))


def test_a_video_names_no_expression_while_a_head_is_turned(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 19)
    one = Reader(FakeClassifier(["happy"]), detector=Turning())
    settings = VideoSettings(detect_every=1, gate=QualityGate(min_sharpness=0))
    faces = [f for r in one.stream(clip, settings=settings) for f in r.faces]
    assert [f.track for f in faces] == [1] * 19
    qualities = [f.quality for f in faces]
    assert qualities[:4] == qualities[-4:] == [TURNED] * 4
    assert qualities[6:13] == [GOOD] * 7
    for face in faces:
        named = face.quality == GOOD
        assert (face.label == "happy") == named
        assert (face.raw is not None) == (face.probabilities is not None) == named


def test_real_faces_pass_and_smooth_ones_are_called_blurred(examples: Path) -> None:
    """Portraits as they are, mirrored, and with what a lens out of focus leaves of them."""
    detector = Mtcnn(threads=1)
    for name in ("astronaut", "grace_hopper"):
        image = read_image(examples / f"{name}.jpg")
        found = detector.detect(image)
        assert found.landmarks_n52 is not None
        box, marks = found.boxes_xyxy[0], found.landmarks_n52[0]
        height, width = image.shape[:2]
        for mirrored in (False, True):
            pixels = image[:, ::-1] if mirrored else image
            x0, y0, x1, y1 = box
            own = np.array([width - x1, y0, width - x0, y1] if mirrored else box, np.float32)
            points = marks.copy()
            if mirrored:
                points = points[[1, 0, 2, 4, 3]]
                points[:, 0] = width - points[:, 0]
            crop = crop_faces(np.ascontiguousarray(pixels), own[None], detector.framing, 48)[0]
            assert QualityGate().judge(own, (width, height), crop, head_pose(points)) == GOOD
        soft = Image.fromarray(image).filter(ImageFilter.GaussianBlur(float(x1 - x0) / 8))
        blurred = crop_faces(np.asarray(soft), box[None], detector.framing, 48)[0]
        sharp = crop_faces(image, box[None], detector.framing, 48)[0]
        assert QualityGate().judge(box, (width, height), blurred, head_pose(marks)) == BLURRED
        assert sharpness(blurred) < QualityGate().min_sharpness < sharpness(sharp)
