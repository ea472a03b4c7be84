"""Head pose in degrees from a detector's five landmarks and a generic face.

`head_poses` fits the rotation, scale and position of five points in space to the landmarks under
scaled orthographic projection. It starts from the closed form of DeMenthon & Davis, "Model-based
object pose in 25 lines of code", IJCV 15 (1995), and reduces the landmarks' squared distances by
Levenberg's damped Gauss-Newton steps (Levenberg 1944).

The projection needs no focal length, which is unknown for most images, so a pose is relative to the
line from the camera to the face: a face at the image's edge that looks along the camera's axis has
a yaw. Axes: x to the right and y down in the image, z away from the camera.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FACE_53 = np.array(
    [[-31.5, -26.2, -34.7], [31.5, -26.2, -34.7], [0, 11.3, -74.8], [-24.6, 43.4, -42.8],
     [24.6, 43.4, -42.8]], np.float64,
)  # fmt: skip
"""Centres of the eyes, tip of the nose, corners of the mouth, in millimetres: of the canonical face
of MediaPipe (Kartynnik et al. 2019, arXiv:1907.06724, canonical_face_model.obj, Apache-2.0; mean of
the corners of each eye, points 1, 61 and 291). Its eyes are 63 mm apart, the mean of adults
(Dodgson 2004, "Variation and extrema of human interpupillary distance")."""
STEPS = 3
"""Gauss-Newton steps: more of them change the mean error by less than 0.001 degrees."""
DAMPING = 1e-3
"""Levenberg's, relative to the mean of the normal matrix's diagonal."""
YAW_KNOTS = ((0.0, 60.0, 90.0), (0.0, 66.0, 90.0))
PITCH_KNOTS = ((0.0, 60.0, 180.0), (0.0, 84.0, 180.0))
"""Angles of detected landmarks, and what they mean, in degrees: networks place landmarks as those
of a head that is turned less. Piecewise linear; chosen on rendered heads (docs/log.md)."""

_CENTRED = FACE_53 - FACE_53.mean(axis=0)
_INVERSE = np.linalg.pinv(_CENTRED).T
# Distances between landmarks and projected points depend on the face by this matrix only.
_ROOT = np.linalg.cholesky(_CENTRED.T @ _CENTRED)
_TURNS = np.array(
    [[[0, 0, 0], [0, 0, -1], [0, 1, 0]], [[0, 0, 1], [0, 0, 0], [-1, 0, 0]],
     [[0, -1, 0], [1, 0, 0], [0, 0, 0]]], np.float64,
)  # fmt: skip
"""Derivatives of a rotation about x, y and z."""


class HeadPose(NamedTuple):
    """Angles of a head in degrees; all are 0 for a head that faces the camera upright.

    Attributes:
        yaw: turned to the side, -90 to 90; positive towards the image's right edge.
        pitch: raised or lowered, -180 to 180; positive upwards.
        roll: tilted in the image's plane, -180 to 180; positive clockwise.
    """

    yaw: float
    pitch: float
    roll: float


def head_pose(landmarks_52: NDArray[np.floating] | tuple[tuple[float, float], ...]) -> HeadPose:
    """Return the pose of one head; see `head_poses`."""
    yaw, pitch, roll = head_poses(np.asarray(landmarks_52, np.float64)[None])[0].tolist()
    return HeadPose(yaw, pitch, roll)


def head_poses(landmarks_n52: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return yaw, pitch and roll of heads, float64 [n, 3], in degrees; see `HeadPose`.

    The rotation is roll after yaw after pitch, so rotating the image changes only the roll.

    Args:
        landmarks_n52: pixels: eye, other eye, nose, mouth corners (left before right as seen in
            the image), [n, 5, 2]. Where they are all in one place, the angles are NaN.
    """
    points = np.asarray(landmarks_n52, np.float64)
    points = points - points.mean(axis=1, keepdims=True)
    affine = points.swapaxes(1, 2) @ _INVERSE
    rotation, scale = _start(affine)
    rotation = _refined(affine / scale[:, None, None], rotation)
    top, middle = rotation[:, 0], rotation[:, 1]
    away = np.cross(top, middle)
    angles = [
        np.arcsin(np.clip(away[:, 0], -1, 1)),
        np.arctan2(-away[:, 1], away[:, 2]),
        np.arctan2(middle[:, 0], top[:, 0]),
    ]
    degrees: NDArray[np.float64] = np.degrees(np.stack(angles, axis=1))
    return degrees


def detected_poses(landmarks_n52: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return `head_poses` of landmarks that a network has placed, float64 [n, 3], in degrees.

    Networks shrink large angles; this undoes it on average.

    Args:
        landmarks_n52: see `head_poses`.
    """
    poses = head_poses(landmarks_n52)
    for axis, (measured, meant) in enumerate((YAW_KNOTS, PITCH_KNOTS)):
        sizes = np.interp(np.abs(poses[:, axis]), measured, meant)
        poses[:, axis] = np.copysign(sizes, poses[:, axis])
    return poses


def _start(
    affine_n23: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first two rows of the rotation nearest to an affine camera, and its scale."""
    # NaN compares as false, so landmarks that are NaN count as flat too.
    flat = ~(np.abs(affine_n23).max(axis=(1, 2), initial=0) > 1e-9)
    known = np.where(flat[:, None, None], 1.0, affine_n23)
    left, sizes, right = np.linalg.svd(known, full_matrices=False)
    scale = np.where(flat, np.nan, sizes.mean(axis=1))
    return left @ right, scale


def _refined(
    affine_n23: NDArray[np.float64], rotation_n23: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the first two rows of the rotations of least squared distance, [n, 2, 3]."""
    n = len(affine_n23)
    log_scale = np.zeros(n)
    eye = np.eye(4)
    for _ in range(STEPS):
        camera = np.exp(log_scale)[:, None, None] * rotation_n23
        rest = ((affine_n23 - camera) @ _ROOT).reshape(n, 6)
        moved = np.concatenate([camera[:, None] @ _TURNS, camera[:, None]], axis=1)
        slope = (moved @ _ROOT).reshape(n, 4, 6)
        normal = slope @ slope.swapaxes(1, 2)
        damping = DAMPING * np.trace(normal, axis1=1, axis2=2) / 4
        normal = normal + damping[:, None, None] * eye
        step = np.linalg.solve(normal, slope @ rest[:, :, None])[:, :, 0]
        rotation_n23 = rotation_n23 @ _rotation(step[:, :3])
        log_scale = log_scale + step[:, 3]
    return rotation_n23


def _rotation(vector_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return rotations by vectors: axis times angle in radians (Rodrigues' formula)."""
    angle = np.sqrt((vector_n3**2).sum(axis=1))[:, None, None]
    turn = np.einsum("nk,kij->nij", vector_n3, _TURNS)
    safe = np.maximum(angle, 1e-12)
    rotation: NDArray[np.float64] = (
        np.eye(3) + np.sin(angle) / safe * turn + (1 - np.cos(angle)) / safe**2 * (turn @ turn)
    )
    return rotation


def openface_angles(pose_n3: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return poses as OpenFace has them: pose_Rx, pose_Ry, pose_Rz in radians, float64 [n, 3].

    Its rotation is Rx Ry Rz in the axes of this module: pose_Rx is positive for a lowered head,
    pose_Ry for one that is turned towards the image's left edge.

    Args:
        pose_n3: yaw, pitch and roll in degrees, as `head_poses` returns them.
    """
    yaw, pitch, roll = np.radians(np.asarray(pose_n3, np.float64).T)
    x, y, z = (
        # -pitch, -yaw and roll are right-handed angles about x, y and z.
        (np.cos(angle), np.sin(angle))
        for angle in (-pitch, -yaw, roll)
    )
    # Elements of Rz Ry Rx that name the angles of a product in the other order.
    first = np.stack(
        [z[0] * y[0], z[0] * y[1] * x[1] - z[1] * x[0], z[0] * y[1] * x[0] + z[1] * x[1]]
    )
    middle = z[1] * y[1] * x[0] - z[0] * x[1]
    last = y[0] * x[0]
    about_x = np.arctan2(-middle, last)
    about_y = np.arcsin(np.clip(first[2], -1, 1))
    return np.stack([about_x, about_y, np.arctan2(-first[1], first[0])], axis=1)
