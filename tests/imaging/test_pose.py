"""Head pose: exact on the generic face, symmetric, and only the roll changes with the image."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from mien.imaging.pose import FACE_53, detected_poses, head_pose, head_poses, openface_angles


def turned(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    """The rotation in right-handed axes x right, y down, z away, by scipy."""
    return Rotation.from_euler("ZYX", [roll, -yaw, -pitch], degrees=True).as_matrix()


def seen(yaw: float, pitch: float, roll: float) -> NDArray[np.float64]:
    return (FACE_53 @ turned(yaw, pitch, roll).T)[:, :2] * 1.7 + (40, 90)


@pytest.fixture
def poses(rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.uniform([-70, -60, -179], [70, 60, 179], (200, 3))


def test_the_generic_face_has_its_pose(poses: NDArray[np.float64]) -> None:
    marks = np.array([seen(*pose) for pose in poses])
    assert head_poses(marks) == pytest.approx(poses, abs=1e-6)
    assert head_pose(marks[0]) == pytest.approx(tuple(poses[0]), abs=1e-6)


def test_signs_are_those_of_the_documentation() -> None:
    front = seen(0, 0, 0)
    # The nose goes to the right edge, up, and the right eye goes down, where each is positive.
    assert seen(20, 0, 0)[2, 0] > front[2, 0] + 10
    assert seen(0, 20, 0)[2, 1] < front[2, 1] - 10
    assert seen(0, 0, 20)[1, 1] > front[1, 1] + 10


def test_noise_leaves_a_fit_of_least_squares(
    poses: NDArray[np.float64], rng: np.random.Generator
) -> None:
    """No rotation near the result has smaller squared distances, at its own best scale."""
    marks = np.array([seen(*pose) for pose in poses]) + rng.normal(0, 3, (len(poses), 5, 2))
    face = FACE_53 - FACE_53.mean(axis=0)
    for own, found in zip(marks, head_poses(marks), strict=True):
        points = own - own.mean(axis=0)

        def rest(pose: NDArray[np.float64], points: NDArray[np.float64] = points) -> float:
            shape = (face @ turned(*pose).T)[:, :2]
            scale = (shape * points).sum() / (shape**2).sum()
            return float(((points - scale * shape) ** 2).sum())

        for change in (*np.eye(3), *-np.eye(3)):
            assert rest(found) <= rest(found + change) * 1.001


def test_rotating_the_image_changes_the_roll_alone(
    poses: NDArray[np.float64], rng: np.random.Generator
) -> None:
    marks = np.array([seen(*pose) for pose in poses]) + rng.normal(0, 3, (len(poses), 5, 2))
    before, quarter = head_poses(marks), head_poses(marks[..., ::-1] * (-1, 1))
    assert quarter[:, :2] == pytest.approx(before[:, :2], abs=1e-6)
    assert (quarter[:, 2] - before[:, 2]) % 360 == pytest.approx(np.full(len(poses), 90), abs=1e-6)


def test_a_mirrored_face_has_mirrored_angles(
    poses: NDArray[np.float64], rng: np.random.Generator
) -> None:
    marks = np.array([seen(*pose) for pose in poses]) + rng.normal(0, 3, (len(poses), 5, 2))
    mirrored = marks[:, [1, 0, 2, 4, 3]] * (-1, 1)
    assert head_poses(mirrored) == pytest.approx(head_poses(marks) * (-1, 1, -1), abs=1e-6)


def test_landmarks_in_one_place_or_none_have_no_angles() -> None:
    for marks in (np.zeros((5, 2)), np.full((5, 2), np.nan)):
        both = head_poses(np.stack([marks, seen(10, 5, 0)]))
        assert np.isnan(both[0]).all()
        assert both[1] == pytest.approx([10, 5, 0], abs=1e-6)
    assert head_poses(np.zeros((0, 5, 2))).shape == (0, 3)


def test_openface_angles_multiply_to_the_same_rotation(poses: NDArray[np.float64]) -> None:
    expected = [Rotation.from_matrix(turned(*pose)).as_euler("XYZ") for pose in poses]
    assert openface_angles(poses) == pytest.approx(np.array(expected), abs=1e-9)
    raised, to_the_right = openface_angles(np.array([[0.0, 20, 0], [20, 0, 0]]))
    assert raised[0] < 0
    assert to_the_right[1] < 0


def test_angles_of_detected_landmarks_are_enlarged(poses: NDArray[np.float64]) -> None:
    """Symmetrically, in order, and within the range of each angle."""
    marks = np.array([seen(*pose) for pose in poses])
    found, plain = detected_poses(marks), head_poses(marks)
    assert found[:, 2] == pytest.approx(plain[:, 2])
    for axis, (factor, most) in enumerate(((1.1, 90), (1.4, 180))):
        small = np.abs(plain[:, axis]) <= 60
        assert found[small, axis] == pytest.approx(factor * plain[small, axis])
        assert (np.abs(found[:, axis]) <= most).all()
        assert (np.argsort(found[:, axis]) == np.argsort(plain[:, axis])).all()
    lying = detected_poses(np.array([seen(75, 0, 0), seen(0, 120, 0), seen(0, -170, 0)]))
    assert lying[0, 0] == pytest.approx(66 + 15 / 30 * 24)
    assert lying[1, 1] == pytest.approx(84 + 60 / 120 * 96)
    assert lying[2, 1] == pytest.approx(-84 - 110 / 120 * 96)
    assert np.isnan(detected_poses(np.zeros((1, 5, 2)))).all()
