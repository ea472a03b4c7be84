"""Which face is which from frame to frame: a Kalman filter per track, and the best assignment.

Motion and size decide, and, where faces cross, how similar a face looks to the same track's face
a moment ago (48x48 grey crops, kept for as long as the track lives and never stored). Nobody is
identified: a face that comes back after `Tracker.lost_s` seconds starts a new track.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mien.imaging.pose import HeadPose, detected_poses
from mien.video.assign import assign
from mien.video.pace import lost_after

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.types import Faces

MEASURE = 0.05
"""Standard deviation of a detector's centre and size, in sides of the box (bench/framing.py)."""
ACCELERATION = (3.0, 1.0)
"""Standard deviation of the acceleration of centre and size, in sides of the box per second²."""
REACH = 0.9
"""Maximum distance of a detection from the predicted centre, in sides of the box,..."""
REACH_PER_S = 0.8
"""...and so much more for each second without a detection."""
RESIZE = 0.6
"""Natural logarithm of the largest change of size between two detections."""
SIMILAR, REACH_SIMILAR_PER_S = 0.5, 2.0
"""From this correlation of appearances on, a face may have moved further while it was covered."""
APPEARANCE_WEIGHT = 1.2
"""Weight of 1 - correlation of the appearances, beside the distance in sides of the box."""
FORGIVEN_DISTANCE = 0.2
"""In sides of the box: nearer than this, a changed appearance counts for less."""
UNSEEN_S = 2.0
"""The reach and the change of size grow for so many seconds, or for `lost_s`: where frames are 10 s
apart, a face in another place is probably another one."""
RESIZE_PER_S = 0.3
"""What RESIZE grows by for each second between detections beyond the first."""
RARE_S = 0.5
"""Seconds between detections from which on a second detection says little."""
CERTAIN_SCORE = 0.97
"""Score of a face that is confirmed by one detection, where detections are too rare for a second
one; false alarms mostly stay below it."""


@dataclass(slots=True)
class Detection:
    """A face that the detector found.

    Attributes:
        box_xyxy: float32 [4], pixels.
        score: of the detector, 0 to 1.
        row: of the face in the detector's answer.
        landmarks_52: float32 [5, 2], pixels, where the detector gives them.
        pose: of the head, where there are landmarks.
        crop_hw: uint8 [size, size], grey.
    """

    box_xyxy: NDArray[np.float32]
    score: float
    row: int
    landmarks_52: NDArray[np.float32] | None = None
    pose: HeadPose | None = None
    crop_hw: NDArray[np.uint8] | None = None


@dataclass(slots=True)
class Track:
    """A face that is tracked over time.

    Attributes:
        state_42: centre x, centre y, log width, log height, each with its speed per second.
        covariance_422: of each of the four with its speed.
        time_s: moment of the state, in seconds.
        last_detected_s: moment of the last detection, in seconds.
        number: from 1; 0 before a second detection confirms the face.
        detection: in the newest frame that the detector ran on; None where it missed the face.
        previous: likewise, in the frame that it ran on before.
        appearance: standardised grey crop, float32 [size * size].
        last_xy: centre of the last detection, in pixels.
    """

    state_42: NDArray[np.float64]
    covariance_422: NDArray[np.float64]
    time_s: float
    last_detected_s: float
    number: int = 0
    detection: Detection | None = None
    previous: Detection | None = None
    appearance: NDArray[np.float32] | None = field(default=None, repr=False)
    last_xy: NDArray[np.float64] | None = None

    @property
    def side(self) -> float:
        """Side of the box in pixels."""
        return float(np.exp(self.state_42[2:, 0].mean()))

    def predict(self, time_s: float) -> None:
        """Move the state on to a moment, with constant speed."""
        dt = time_s - self.time_s
        if dt <= 0:
            return
        # A size that keeps growing would soon fill the image.
        self.state_42[2:, 1] *= np.exp(-2 * dt)
        move = np.array([[1.0, dt], [0.0, 1.0]])
        # Of a random acceleration that is constant within a step (Bar-Shalom et al. 2001).
        noise = np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        scale = np.array([ACCELERATION[0] * self.side] * 2 + [ACCELERATION[1]] * 2)
        self.state_42 = self.state_42 @ move.T
        self.covariance_422 = (
            move @ self.covariance_422 @ move.T + noise * scale[:, None, None] ** 2
        )
        self.time_s = time_s

    def correct(self, detection: Detection, time_s: float) -> None:
        """Update the state by a detection; `predict` was called for its moment."""
        measured = _measured(detection.box_xyxy)
        noise = np.array([MEASURE * self.side] * 2 + [MEASURE] * 2) ** 2
        # The four coordinates are independent, so each has a Kalman filter of its own.
        gain = self.covariance_422[:, :, 0] / (self.covariance_422[:, 0, 0] + noise)[:, None]
        self.state_42 = self.state_42 + gain * (measured - self.state_42[:, 0])[:, None]
        self.covariance_422 = (
            self.covariance_422 - gain[:, :, None] * self.covariance_422[:, None, 0, :]
        )
        self.detection, self.last_detected_s = detection, time_s
        self.last_xy = measured[:2]

    def distance(self, centre_xy: NDArray[np.float64]) -> float:
        """Return how far a detection's centre is from where the face may be, in pixels.

        A face that was missed lately has either moved on or stopped behind what covers it: any
        place between the last detection and the prediction has distance 0.
        """
        expected = self.state_42[:2, 0]
        offset = centre_xy - expected
        # Missed in the frame before: it may have stopped where it was last detected.
        if self.previous is None and self.last_xy is not None:
            back = self.last_xy - expected
            # The nearest point of the line between the last detection and the prediction.
            fraction = float(offset @ back) / max(float(back @ back), 1e-9)
            offset = offset - np.clip(fraction, 0, 1) * back
        return float(np.hypot(offset[0], offset[1]))

    def box(self, time_s: float | None = None) -> NDArray[np.float32]:
        """Return where the face should be, float32 [4] in pixels, at a moment near the state's."""
        dt = 0.0 if time_s is None else time_s - self.time_s
        x, y = self.state_42[:2, 0] + self.state_42[:2, 1] * dt
        width, height = np.exp(self.state_42[2:, 0]) / 2
        return np.array([x - width, y - height, x + width, y + height], np.float32)


class Tracker:
    """Tracks the faces of one source; make a new one for each source.

    Args:
        lost_s: seconds without a detection after which a track ends; see `every_s` of `update`.
        min_score: detections with a lower score, 0 to 1, continue tracks but start none.
    """

    def __init__(self, lost_s: float = 1.0, min_score: float = 0.9) -> None:
        self.lost_s, self.min_score = lost_s, min_score
        self.tracks: list[Track] = []
        self._last_number = 0

    def update(
        self,
        faces: Faces,
        time_s: float,
        crops_nhw: NDArray[np.uint8] | None = None,
        every_s: float = 0.0,
    ) -> list[Track]:
        """Assign each detection to a track; return the tracks that are alive now.

        Args:
            faces: found in the newest frame.
            time_s: its moment; never before that of the last call.
            crops_nhw: uint8 [n, size, size] grey crops of the faces, to tell crossing ones apart.
            every_s: minimum seconds from one detection to the next: no track is lost by a single
                miss, and where it comes near `lost_s`, one detection confirms a face.
        """
        # All tracks first: distances are measured at the moment of the new detections.
        appearances = None if crops_nhw is None else _appearances(crops_nhw)
        for track in self.tracks:
            track.previous, track.detection = track.detection, None
            track.predict(time_s)
        found = _detections(faces, crops_nhw)
        assigned = self._match(found, time_s, appearances)
        self._start([d for d in found if d.row not in assigned], time_s, appearances)
        if every_s >= max(0.99 * self.lost_s, RARE_S):
            for track in self.tracks:
                if track.previous is not None and track.previous.score >= CERTAIN_SCORE:
                    self.confirm(track)
        # An unconfirmed face that is not detected again at once was a false alarm.
        lost_s = lost_after(self.lost_s, every_s)
        self.tracks = [
            t for t in self.tracks
            if t.detection is not None or (t.number and time_s - t.last_detected_s <= lost_s)
        ]  # fmt: skip
        return self.tracks

    def confirm(self, track: Track) -> None:
        """Give a track its number, unless it has one."""
        if not track.number:
            self._last_number += 1
            track.number = self._last_number

    def confirm_all(self) -> None:
        """Give every track its number: where nothing can wait for a second detection."""
        for track in self.tracks:
            self.confirm(track)

    def _match(
        self, found: list[Detection], time_s: float, appearances: NDArray[np.float32] | None
    ) -> set[int]:
        """Continue tracks by detections; return the rows of the detections used."""
        if not found or not self.tracks:
            return set()
        max_s = max(self.lost_s, UNSEEN_S)
        costs = np.array(
            [[_cost(t, d, time_s, appearances, max_s) for d in found] for t in self.tracks]
        )
        # The assignment needs finite costs; pairs at this one are dropped below.
        impossible = 1e6
        pairs = assign(np.where(np.isinf(costs), impossible, costs))
        assigned = set()
        for row, column in pairs:
            if np.isinf(costs[row, column]):
                continue
            track, detection = self.tracks[row], found[column]
            track.correct(detection, time_s)
            self.confirm(track)
            if appearances is not None:
                # Blended: one blurred or turned face must not replace what the track looked like.
                old = appearances[column] if track.appearance is None else track.appearance
                track.appearance = _standardised(0.7 * old + 0.3 * appearances[column])
            assigned.add(detection.row)
        return assigned

    def _start(
        self, found: list[Detection], time_s: float, appearances: NDArray[np.float32] | None
    ) -> None:
        """Start an unconfirmed track for each detection with a high enough score."""
        for detection in found:
            if detection.score < self.min_score:
                continue
            centre = _measured(detection.box_xyxy)
            side = float(np.exp(centre[2:].mean()))
            spread = np.array([MEASURE * side] * 2 + [MEASURE] * 2) ** 2
            # Nothing is known of its speed: up to a side of the box per second.
            speed = np.array([side, side, 0.3, 0.3]) ** 2
            covariance = np.zeros((4, 2, 2))
            covariance[:, 0, 0], covariance[:, 1, 1] = spread, speed
            state = np.stack([centre, np.zeros(4)], axis=1)
            track = Track(state, covariance, time_s, time_s, detection=detection)
            track.appearance = None if appearances is None else appearances[detection.row]
            self.tracks.append(track)


def _detections(faces: Faces, crops_nhw: NDArray[np.uint8] | None) -> list[Detection]:
    marks = faces.landmarks_n52
    # All faces of a frame at once: one costs as much as ten.
    poses = None if marks is None else [HeadPose(*own) for own in detected_poses(marks).tolist()]
    return [
        Detection(
            faces.boxes_xyxy[i],
            float(faces.scores_n[i]),
            i,
            None if marks is None else marks[i],
            None if poses is None else poses[i],
            None if crops_nhw is None else crops_nhw[i],
        )
        for i in range(len(faces))
    ]


def _cost(
    track: Track,
    detection: Detection,
    time_s: float,
    appearances: NDArray[np.float32] | None,
    max_s: float,
) -> float:
    """Return how badly a detection fits a track; infinite where it cannot belong to it.

    The reach stops growing after `max_s` seconds without a detection.
    """
    measured = _measured(detection.box_xyxy)
    offset = measured - track.state_42[:, 0]
    distance = track.distance(measured[:2]) / track.side
    unseen = min(time_s - track.last_detected_s, max_s)
    # Sizes are logarithms: half and double the size are equally far.
    resize = float(np.abs(offset[2:]).mean())
    similarity = None
    if appearances is not None and track.appearance is not None:
        similarity = float(track.appearance @ appearances[detection.row])
    similar = similarity is not None and similarity > SIMILAR
    per_s = REACH_SIMILAR_PER_S if similar else REACH_PER_S
    if distance > REACH + per_s * unseen or resize > RESIZE + RESIZE_PER_S * max(unseen - 1, 0):
        return float("inf")
    cost = distance + resize
    if similarity is not None:
        # A face just where it should be must not be lost because it turns away or laughs.
        trust = min(1.0, distance / FORGIVEN_DISTANCE + min(unseen, 1.0))
        cost += APPEARANCE_WEIGHT * (1 - similarity) * trust
    return cost


def _measured(box: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return centre x, centre y, log width and log height of a box."""
    x0, y0, x1, y1 = (float(v) for v in box)
    return np.array(
        [(x0 + x1) / 2, (y0 + y1) / 2, np.log(max(x1 - x0, 1)), np.log(max(y1 - y0, 1))]
    )


def _appearances(crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array([_standardised(c.astype(np.float32).ravel()) for c in crops_nhw], np.float32)


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # Brightness and contrast cancel out: the product of two of these is their correlation.
    centred = values - values.mean()
    unit: NDArray[np.float32] = centred / max(float(np.linalg.norm(centred)), 1e-6)
    return unit.astype(np.float32, copy=False)
