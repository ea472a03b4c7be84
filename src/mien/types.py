"""The values that flow through mien: faces as a struct of arrays, and readings of a picture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces found in one picture, as arrays that share their first axis.

    Attributes:
        boxes_xyxy: float32 [n, 4], pixels: left, top, right, bottom; may reach past the picture.
        scores_n: float32 [n], the detector's own score, 0 to 1.
        landmarks_n52: float32 [n, 5, 2], pixels: the eye, other eye, nose, mouth corners
            (left before right as seen in the picture); None where the detector gives none.
    """

    boxes_xyxy: NDArray[np.float32]
    scores_n: NDArray[np.float32]
    landmarks_n52: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.boxes_xyxy)
        if self.boxes_xyxy.shape != (n, 4):
            raise ValueError(f"boxes_xyxy must be [n, 4], got {list(self.boxes_xyxy.shape)}")
        if self.scores_n.shape != (n,):
            raise ValueError(f"scores_n must be [{n}], got {list(self.scores_n.shape)}")
        if self.landmarks_n52 is not None and self.landmarks_n52.shape != (n, 5, 2):
            raise ValueError(
                f"landmarks_n52 must be [{n}, 5, 2], got {list(self.landmarks_n52.shape)}"
            )

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def none(cls) -> Faces:
        """Return the answer for a picture without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True)
class FaceReading:
    """One face and the expression read in it.

    Attributes:
        box: (left, top, right, bottom) in pixels of the picture as displayed.
        score: the detector's score, 0 to 1; 1.0 for `--faces whole`.
        label: the expression, or 'unsure' where confidence is below the reader's threshold.
        confidence: the largest probability, 0 to 1.
        probabilities: one per label of the model, in its order; they sum to 1.
        label_set: where a coverage was asked for, the labels that hold the right one so often, the
            most probable first; else None.
    """

    box: tuple[float, float, float, float]
    score: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    label_set: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the face as JSON types, coordinates to a tenth of a pixel."""
        values: dict[str, Any] = {
            "box": [round(v, 1) for v in self.box],
            "score": round(self.score, 4),
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
        }
        if self.label_set is not None:
            values["set"] = list(self.label_set)
        return values


@dataclass(frozen=True, slots=True)
class PictureReading:
    """What was read in one picture; `faces` is empty where there is none.

    Attributes:
        source: the path as given, or 'array'.
        width: of the picture as displayed (after EXIF rotation), in pixels; 0 if unreadable.
        height: likewise.
        detector: the name of the face detector used.
        model: name of the expression model used.
        faces: from left to right.
        error: why the picture could not be read, else None.
    """

    source: str
    width: int
    height: int
    detector: str
    model: str
    faces: list[FaceReading] = field(default_factory=list)
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the reading as JSON types."""
        return {
            "source": self.source,
            "width": self.width,
            "height": self.height,
            "detector": self.detector,
            "model": self.model,
            "faces": [face.to_dict() for face in self.faces],
            "error": self.error,
        }


UNSURE = "unsure"
"""The label of a face whose largest probability is below the reader's threshold."""


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One person's face in one frame.

    Attributes:
        track: number of the person, from 1, within one source and never across sources.
        box: (left, top, right, bottom) in pixels of the frame as displayed.
        origin: 'detected' where the detector ran on this frame; 'between' where the box lies
            between two detections; 'predicted' where it continues the last one.
        score: the detector's score at the nearest detection, 0 to 1.
        landmarks: five (x, y), only in detected frames and from detectors that give them.
        quality: 'good', or why the face was not read: 'small', 'blurred', 'turned', 'cut'.
        raw: probability per label as the model gave it for this very frame, else None.
        probabilities: smoothed over this person's past; None before a face was read.
        label: the expression, 'unsure' below the threshold, None where none could be read.
        confidence: the largest smoothed probability; None where there is none.
    """

    track: int
    box: tuple[float, float, float, float]
    origin: str
    score: float
    landmarks: tuple[tuple[float, float], ...] | None = None
    quality: str = "good"
    raw: dict[str, float] | None = None
    probabilities: dict[str, float] | None = None
    label: str | None = None
    confidence: float | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any], labels: Sequence[str]) -> TrackedFace:
        """Return the face in a row, with the types of JSON, as mien.predict.sinks.rows makes it."""
        marks = row["landmarks"]
        return cls(
            track=row["track"],
            box=(row["x0"], row["y0"], row["x1"], row["y1"]),
            origin=row["origin"],
            score=row["score"],
            landmarks=None if marks is None else tuple(zip(marks[::2], marks[1::2], strict=True)),
            quality=row["quality"],
            raw=_shares(row, "raw", labels),
            probabilities=_shares(row, "p", labels),
            label=row["label"],
            confidence=row["confidence"],
        )

    @property
    def unsure(self) -> bool:
        """Whether no expression is named."""
        return self.label is None or self.label == UNSURE


def _shares(row: Mapping[str, Any], prefix: str, labels: Sequence[str]) -> dict[str, float] | None:
    shares = {label: row[f"{prefix}_{label}"] for label in labels}
    return None if None in shares.values() else shares


@dataclass(frozen=True, slots=True)
class FrameReading:
    """What was read in one frame; `faces` is empty where nobody is seen.

    Attributes:
        source: the path, address or name as given.
        frame: its number in the source, from 0.
        pts: its timestamp in the container's time base; None where there is no container.
        time_s: seconds on the player's clock: since the container's start.
        width: of the frame as displayed, in pixels.
        height: likewise.
        faces: by track number.
        until_s: the moment until which it stands: that of the next frame that is read, or the
            source's end; None live, where that is not known yet.
    """

    source: str
    frame: int
    pts: int | None
    time_s: float
    width: int
    height: int
    faces: tuple[TrackedFace, ...] = ()
    until_s: float | None = None
