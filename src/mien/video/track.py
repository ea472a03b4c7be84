"""Who is who from frame to frame: a Kalman filter for each person, and the best assignment.

Motion and size decide, and, where faces cross, how alike the face looks to the same person's face
a moment ago (48x48 grey crops, kept for as long as a person is followed and never stored). This
is no recognition: whoever comes back after `Tracker.lost_s` seconds is a new person.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mien.video.assign import assign
from mien.video.pace import lost_after

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.types import Faces

MEASURE = 0.05
"""Standard deviation of a detector's centre and size, in sides of the box (bench/framing.py)."""
ACCELERATION = (3.0, 1.0)
"""Standard deviation of what people do to centre and size, in sides of the box per second²."""
REACH = 0.9
"""A face is never looked for further than this from where it should be, in sides of its box,..."""
REACH_PER_S = 0.8
"""...and so much further for each second that it has not been seen."""
RESIZE = 0.6
"""Natural logarithm of the largest change of size between two detections."""
ALIKE, REACH_ALIKE_PER_S = 0.5, 2.0
"""Who looks alike, by this correlation, may have got further while hidden."""
LOOKS = 1.2
"""Weight of a face's look, 1 - correlation, beside its distance in sides of the box."""
FORGIVEN_DISTANCE = 0.2
UNSEEN_S = 2.0
"""The reach and the change of size grow for so long, or for `lost_s`: where frames are 10 s apart,
whoever sits elsewhere is rather somebody else."""
RESIZE_PER_S = 0.3
"""What RESIZE grows by for each second between detections beyond the first."""
RARE_S = 0.5
"""Seconds between detections from which on a second look says little."""
SURE = 0.97
"""Score of a face that counts although seen once, where detections are too rare for a second
look; false alarms mostly stay below it."""


@dataclass(slots=True)
class Detection:
    """A detection given to a person.

    Attributes:
        box_xyxy: float32 [4], pixels.
        score: of the detector.
        row: of the face in the detector's answer.
        landmarks_52: float32 [5, 2], pixels, where the detector gives them.
        crop_hw: uint8 [size, size], grey.
    """

    box_xyxy: NDArray[np.float32]
    score: float
    row: int
    landmarks_52: NDArray[np.float32] | None = None
    crop_hw: NDArray[np.uint8] | None = None


@dataclass(slots=True)
class Track:
    """Somebody who is followed.

    Attributes:
        track: number, from 1; 0 before a second detection confirms the face.
        state_42: centre x, centre y, log width, log height, each with its speed per second.
        seen: the detection in the newest frame, else None.
        before: the one in the detected frame before, else None.
        look: standardised grey crop, float32 [size * size].
        last_xy: centre of the last detection, in pixels.
    """

    state_42: NDArray[np.float64]
    covariance_422: NDArray[np.float64]
    time_s: float
    last_seen_s: float
    track: int = 0
    seen: Detection | None = None
    before: Detection | None = None
    look: NDArray[np.float32] | None = field(default=None, repr=False)
    last_xy: NDArray[np.float64] | None = None

    @property
    def side(self) -> float:
        """Side of the box in pixels."""
        return float(np.exp(self.state_42[2:, 0].mean()))

    def predict(self, time_s: float) -> None:
        """Move on to a moment, with constant speed."""
        dt = time_s - self.time_s
        if dt <= 0:
            return
        # A size that goes on growing would soon fill the image.
        self.state_42[2:, 1] *= np.exp(-2 * dt)
        move = np.array([[1.0, dt], [0.0, 1.0]])
        noise = np.array([[dt**4 / 4, dt**3 / 2], [dt**3 / 2, dt**2]])
        scale = np.array([ACCELERATION[0] * self.side] * 2 + [ACCELERATION[1]] * 2)
        self.state_42 = self.state_42 @ move.T
        self.covariance_422 = (
            move @ self.covariance_422 @ move.T + noise * scale[:, None, None] ** 2
        )
        self.time_s = time_s

    def correct(self, sighting: Detection, time_s: float) -> None:
        """Take a detection in; `predict` was called for its moment."""
        measured = _measured(sighting.box_xyxy)
        noise = np.array([MEASURE * self.side] * 2 + [MEASURE] * 2) ** 2
        gain = self.covariance_422[:, :, 0] / (self.covariance_422[:, 0, 0] + noise)[:, None]
        self.state_42 = self.state_42 + gain * (measured - self.state_42[:, 0])[:, None]
        self.covariance_422 = (
            self.covariance_422 - gain[:, :, None] * self.covariance_422[:, None, 0, :]
        )
        self.seen, self.last_seen_s = sighting, time_s
        self.last_xy = measured[:2]

    def distance(self, centre_xy: NDArray[np.float64]) -> float:
        """Return how far a detection's centre is from where the person may be, in pixels.

        Who was not found lately has either gone on or stopped behind what hides them: anywhere
        between the last sight and the prediction will do.
        """
        expected = self.state_42[:2, 0]
        offset = centre_xy - expected
        if self.before is None and self.last_xy is not None:
            back = self.last_xy - expected
            share = float(offset @ back) / max(float(back @ back), 1e-9)
            offset = offset - np.clip(share, 0, 1) * back
        return float(np.hypot(offset[0], offset[1]))

    def box(self, time_s: float | None = None) -> NDArray[np.float32]:
        """Return where the face should be, float32 [4] in pixels; now, or near now."""
        dt = 0.0 if time_s is None else time_s - self.time_s
        x, y = self.state_42[:2, 0] + self.state_42[:2, 1] * dt
        width, height = np.exp(self.state_42[2:, 0]) / 2
        return np.array([x - width, y - height, x + width, y + height], np.float32)


class Tracker:
    """Follows the people of one source; make a new one for each source.

    Args:
        lost_s: a person unseen for longer is gone, and new when they come back; see `every_s`.
        min_score: weaker detections go on with people already followed, but start nobody.
    """

    def __init__(self, lost_s: float = 1.0, min_score: float = 0.9) -> None:
        self.lost_s, self.min_score = lost_s, min_score
        self.people: list[Track] = []
        self._numbers = 0

    def update(
        self,
        faces: Faces,
        time_s: float,
        crops_nhw: NDArray[np.uint8] | None = None,
        every_s: float = 0.0,
    ) -> list[Track]:
        """Give each detection to a person; return those that are followed now.

        Args:
            faces: found in the newest frame.
            time_s: its moment; never before that of the last call.
            crops_nhw: uint8 [n, size, size] grey crops of the faces, to tell crossing ones apart.
            every_s: seconds from one detection to the next, at least: nobody is lost by one that
                missed them, and where it comes near `lost_s`, a face found once is a person.
        """
        looks = None if crops_nhw is None else _looks(crops_nhw)
        for person in self.people:
            person.before, person.seen = person.seen, None
            person.predict(time_s)
        found = _sightings(faces, crops_nhw)
        taken = self._match(found, time_s, looks)
        self._begin([s for s in found if s.row not in taken], time_s, looks)
        if every_s >= max(0.99 * self.lost_s, RARE_S):
            for person in self.people:
                if person.before is not None and person.before.score >= SURE:
                    self.confirm(person)
        # An unconfirmed face that is not found again at once was no face.
        lost_s = lost_after(self.lost_s, every_s)
        self.people = [
            p for p in self.people
            if p.seen is not None or (p.track and time_s - p.last_seen_s <= lost_s)
        ]  # fmt: skip
        return self.people

    def confirm(self, person: Track) -> None:
        """Give a person a number."""
        if not person.track:
            self._numbers += 1
            person.track = self._numbers

    def _match(
        self, found: list[Detection], time_s: float, looks: NDArray[np.float32] | None
    ) -> set[int]:
        if not found or not self.people:
            return set()
        most = max(self.lost_s, UNSEEN_S)
        costs = np.array([[_cost(p, s, time_s, looks, most) for s in found] for p in self.people])
        impossible = 1e6
        pairs = assign(np.where(np.isinf(costs), impossible, costs))
        taken = set()
        for row, column in pairs:
            if np.isinf(costs[row, column]):
                continue
            person, sighting = self.people[row], found[column]
            person.correct(sighting, time_s)
            self.confirm(person)
            if looks is not None:
                old = looks[column] if person.look is None else person.look
                person.look = _standardised(0.7 * old + 0.3 * looks[column])
            taken.add(sighting.row)
        return taken

    def _begin(
        self, found: list[Detection], time_s: float, looks: NDArray[np.float32] | None
    ) -> None:
        for sighting in found:
            if sighting.score < self.min_score:
                continue
            centre = _measured(sighting.box_xyxy)
            side = float(np.exp(centre[2:].mean()))
            spread = np.array([MEASURE * side] * 2 + [MEASURE] * 2) ** 2
            speed = np.array([side, side, 0.3, 0.3]) ** 2
            covariance = np.zeros((4, 2, 2))
            covariance[:, 0, 0], covariance[:, 1, 1] = spread, speed
            state = np.stack([centre, np.zeros(4)], axis=1)
            person = Track(state, covariance, time_s, time_s, seen=sighting)
            person.look = None if looks is None else looks[sighting.row]
            self.people.append(person)


def _sightings(faces: Faces, crops_nhw: NDArray[np.uint8] | None) -> list[Detection]:
    return [
        Detection(
            faces.boxes_xyxy[i],
            float(faces.scores_n[i]),
            i,
            None if faces.landmarks_n52 is None else faces.landmarks_n52[i],
            None if crops_nhw is None else crops_nhw[i],
        )
        for i in range(len(faces))
    ]


def _cost(
    person: Track,
    sighting: Detection,
    time_s: float,
    looks: NDArray[np.float32] | None,
    most_s: float,
) -> float:
    """Return how badly a detection fits a person; infinite where it cannot be theirs.

    Unseen for longer than `most_s`, a face is not looked for further away.
    """
    measured = _measured(sighting.box_xyxy)
    offset = measured - person.state_42[:, 0]
    distance = person.distance(measured[:2]) / person.side
    unseen = min(time_s - person.last_seen_s, most_s)
    resize = float(np.abs(offset[2:]).mean())
    alike = None
    if looks is not None and person.look is not None:
        alike = float(person.look @ looks[sighting.row])
    further = REACH_ALIKE_PER_S if alike is not None and alike > ALIKE else REACH_PER_S
    if distance > REACH + further * unseen or resize > RESIZE + RESIZE_PER_S * max(unseen - 1, 0):
        return float("inf")
    cost = distance + resize
    if alike is not None:
        # Where a face is just where it should be, looking away or laughing must not lose it.
        cost += LOOKS * (1 - alike) * min(1.0, distance / FORGIVEN_DISTANCE + min(unseen, 1.0))
    return cost


def _measured(box: NDArray[np.float32]) -> NDArray[np.float64]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return np.array(
        [(x0 + x1) / 2, (y0 + y1) / 2, np.log(max(x1 - x0, 1)), np.log(max(y1 - y0, 1))]
    )


def _looks(crops_nhw: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.array([_standardised(c.astype(np.float32).ravel()) for c in crops_nhw], np.float32)


def _standardised(values: NDArray[np.float32]) -> NDArray[np.float32]:
    centred = values - values.mean()
    unit: NDArray[np.float32] = centred / max(float(np.linalg.norm(centred)), 1e-6)
    return unit.astype(np.float32, copy=False)
