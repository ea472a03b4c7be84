"""The types of results: faces as a struct of arrays, and readings of images and frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mien.errors import MissingExtraError
from mien.imaging.boxes import clip_box

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.imaging.codec import Decoded
    from mien.imaging.pose import HeadPose

_UNKNOWN = (0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Faces:
    """Faces found in one image, as arrays that share their first axis.

    Attributes:
        boxes_xyxy: float32 [n, 4], pixels: left, top, right, bottom; may reach past the image.
        scores_n: float32 [n], the detector's own score, 0 to 1.
        landmarks_n52: float32 [n, 5, 2], pixels: the eye, other eye, nose, mouth corners
            (left before right as seen in the image); None where the detector gives none.
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

    def take(self, order_n: NDArray[np.intp]) -> Faces:
        """Return the faces of these indices, in this order."""
        # Not every detector gives landmarks.
        marks = self.landmarks_n52
        return Faces(
            self.boxes_xyxy[order_n],
            self.scores_n[order_n],
            None if marks is None else marks[order_n],
        )

    def scaled(self, factor: float) -> Faces:
        """Return the faces with boxes and landmarks multiplied by a factor."""
        scale, marks = np.float32(factor), self.landmarks_n52
        return Faces(
            self.boxes_xyxy * scale, self.scores_n, None if marks is None else marks * scale
        )

    @classmethod
    def none(cls) -> Faces:
        """Return the result for an image without a face."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


@dataclass(frozen=True, slots=True, repr=False)
class FaceReading:
    """One face and its prediction.

    Attributes:
        box: (left, top, right, bottom) in pixels of the image as displayed, as the detector gave
            it: it may reach outside the image.
        score: the detection score, 0 to 1; 1.0 with `faces='whole'`.
        label: the predicted expression, or 'unsure' if confidence is below the decision threshold.
        confidence: the largest probability, 0 to 1.
        probabilities: one per label of the model, in its order; they sum to 1.
        prediction_set: labels of the conformal prediction set, most probable first; None where no
            coverage was given.
        box_inside: the box in whole pixels, clipped to the image, for slicing:
            `image[top:bottom, left:right]` is never empty. A FaceReading that is made without it
            does not know the image's size, so only the left and top edges are clipped.
    """

    box: tuple[float, float, float, float]
    score: float
    label: str
    confidence: float
    probabilities: dict[str, float]
    prediction_set: tuple[str, ...] | None = None
    box_inside: tuple[int, int, int, int] = _UNKNOWN

    def __post_init__(self) -> None:
        if self.box_inside == _UNKNOWN:
            # A frozen dataclass refuses plain assignment, even here.
            object.__setattr__(self, "box_inside", clip_box(self.box))

    def __repr__(self) -> str:
        return f"FaceReading({self.label!r}, {self.confidence:.2f}, box={self.box_inside})"

    def to_dict(self) -> dict[str, Any]:
        """Return the face as JSON types; `box` is rounded to a tenth of a pixel."""
        values: dict[str, Any] = {
            "box": [round(v, 1) for v in self.box],
            "box_inside": list(self.box_inside),
            "score": round(self.score, 4),
            "label": self.label,
            "confidence": round(self.confidence, 4),
            "probabilities": {name: round(p, 4) for name, p in self.probabilities.items()},
        }
        if self.prediction_set is not None:
            values["prediction_set"] = list(self.prediction_set)
        return values


class Image(Protocol):
    """What can load the pixels of a reading again; see mien.imaging.load."""

    def load(self) -> Decoded | None:
        """Return the pixels, or None if they were freed."""
        ...


@dataclass(frozen=True, slots=True, repr=False)
class ImageReading:
    """The faces in one image and their predictions; `faces` is empty if there are none.

    Attributes:
        source: the path as given, or 'array', 'tensor', 'image', 'bytes' or 'file'.
        width: of the image as displayed (after EXIF rotation), in pixels; 0 if unreadable.
        height: of the image as displayed, in pixels; 0 if unreadable.
        detector: the name of the face detector used.
        model: name of the expression model used.
        faces: from left to right.
        error: why the image could not be read, else None.
        turn: degrees, clockwise, by which the image was turned so that its faces are upright:
            0, 90, 180 or 270. Boxes are those of the image before the turn.
        notes: oddities of the image file that did not prevent reading it.
        origin: loads the pixels for `annotate`; it does not keep an array alive.
    """

    source: str
    width: int
    height: int
    detector: str
    model: str
    faces: list[FaceReading] = field(default_factory=list)
    error: str | None = None
    turn: int = 0
    notes: tuple[str, ...] = ()
    origin: Image | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        found = f"error={self.error!r}" if self.error is not None else f"faces={self.faces!r}"
        turn = f", turn={self.turn}" if self.turn else ""
        return f"ImageReading({self.source!r}, {self.width}x{self.height}, {found}{turn})"

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
            "turn": self.turn,
            "notes": list(self.notes),
        }

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame with a row for each face; see `Readings.to_pandas`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        return Readings([self]).to_pandas()

    def annotate(self, image: object = None, *, channels: str = "rgb") -> NDArray[np.uint8]:
        """Return the image, uint8 [h, w, 3] RGB, with the faces drawn on it.

        Args:
            image: the same image, in any form that `Reader.read` takes (default: the file is read
                again, or the image passed to `Reader.read` is used while it is in memory).
            channels: channel order of `image`, 'rgb' or 'bgr'.

        Raises:
            SourceError: the image cannot be read, was freed, or has another size.
        """
        from mien.imaging.notebook import draw_reading

        return draw_reading(self, image, channels)

    def show(self, image: object = None, *, channels: str = "rgb") -> None:
        """Show the annotated image, in the notebook or the system's viewer; see `annotate`.

        Raises:
            SourceError: there is no image, or no screen or viewer.
        """
        from mien.imaging.notebook import show_image

        show_image(self.annotate(image, channels=channels), self.source)

    def save(self, path: str | Path, image: object = None, *, channels: str = "rgb") -> Path:
        """Write the annotated image as JPEG, PNG or WebP, by the suffix; see `annotate`.

        Raises:
            SourceError: there is no image.
            ConfigError: another suffix.
        """
        from mien.imaging.notebook import save_reading

        return save_reading(self, path, image, channels)

    def _repr_html_(self) -> str:
        from mien.imaging.notebook import reading_html

        return reading_html(self)


class Readings(list[ImageReading]):
    """A list of readings, such as `Readings(reader.read_many("photos"))`, as one table."""

    def to_pandas(self) -> Any:
        """Return a pandas.DataFrame: a row for each face, and one for an image without.

        Columns as in CSV: source, width, height, detector, model, face (from 0), x0, y0, x1, y1
        (pixels, as detected), score, label, confidence, p_LABEL for each label, prediction_set,
        turn, notes, error.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "a data frame needs pandas, which is not installed",
                hint="install it: pip install pandas",
            ) from error
        rows = [row for reading in self for row in face_rows(reading)]
        # In order of appearance: readings of several models may have different labels.
        labels = list(dict.fromkeys(n for row in rows for n in row if n.startswith("p_")))
        sets = ["prediction_set"] if any("prediction_set" in row for row in rows) else []
        columns = [*ABOUT, *FACE, *labels, *sets, "turn", "notes", "error"]
        frame = pandas.DataFrame(rows, columns=columns)
        # pandas' nullable integer: rows without a face would turn the column into floats.
        return frame.astype({"face": "Int64"})

    def _repr_html_(self) -> str:
        from mien.imaging.notebook import readings_html

        return readings_html(self)


ABOUT = ("source", "width", "height", "detector", "model")
FACE = ("face", "x0", "y0", "x1", "y1", "score", "label", "confidence")
"""Columns of a table of readings, before those of the labels."""


def face_rows(reading: ImageReading) -> list[dict[str, Any]]:
    """Return a dictionary for each face; an image without one gives one, without a face's keys."""
    values = reading.to_dict()
    shared = {name: values[name] for name in ABOUT}
    shared |= {"turn": reading.turn, "notes": "; ".join(reading.notes), "error": reading.error}
    rows = []
    for number, face in enumerate(values["faces"]):
        edges = dict(zip(("x0", "y0", "x1", "y1"), face["box"], strict=True))
        own = {name: face[name] for name in ("score", "label", "confidence")}
        own |= {f"p_{label}": p for label, p in face["probabilities"].items()}
        sets = face.get("prediction_set")
        own |= {} if sets is None else {"prediction_set": "|".join(sets)}
        rows.append({**shared, "face": number, **edges, **own})
    # An image without a face keeps a row: it must not vanish from the table.
    return rows or [shared]


UNSURE = "unsure"
"""The label of a face whose largest probability is below the decision threshold."""


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """A tracked face in one frame.

    Attributes:
        track: number of the track, from 1, within one source.
        box: (left, top, right, bottom) in pixels of the frame as displayed.
        origin: 'detected' if the detector ran on this frame; 'between' if the box is interpolated
            between two detections; 'predicted' if it continues the last one.
        score: the detector's score at the nearest detection, 0 to 1.
        landmarks: five (x, y), only in detected frames and from detectors that give them.
        quality: 'good', or why the face was not classified: 'small', 'blurred', 'turned', 'cut',
            'covered'.
        raw: probability per label of this frame alone, as the model gave it; None if the frame was
            not classified.
        probabilities: smoothed over the track's past, then corrected to the prior; None before the
            first classification.
        label: the predicted expression, 'unsure' below the threshold, None without a prediction.
        confidence: the largest of `probabilities`, 0 to 1; None without a prediction.
        pose: yaw, pitch and roll of the head in degrees, from the landmarks.
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
    pose: HeadPose | None = None

    @classmethod
    def from_row(cls, row: Mapping[str, Any], labels: Sequence[str]) -> TrackedFace:
        """Return the face in a row of JSON types, as mien.video.sinks.rows makes it."""
        marks = row["landmarks"]
        return cls(
            track=row["track"],
            box=(row["x0"], row["y0"], row["x1"], row["y1"]),
            origin=row["origin"],
            score=row["score"],
            landmarks=None if marks is None else tuple(zip(marks[::2], marks[1::2], strict=True)),
            quality=row["quality"],
            raw=_probabilities(row, "raw", labels),
            probabilities=_probabilities(row, "p", labels),
            label=row["label"],
            confidence=row["confidence"],
            pose=_pose(row),
        )

    @property
    def unsure(self) -> bool:
        """Whether no expression is predicted."""
        return self.label is None or self.label == UNSURE


def _pose(row: Mapping[str, Any]) -> HeadPose | None:
    # Rows that an older mien wrote have none.
    if row.get("yaw") is None:
        return None
    from mien.imaging.pose import HeadPose

    return HeadPose(row["yaw"], row["pitch"], row["roll"])


def _probabilities(
    row: Mapping[str, Any], prefix: str, labels: Sequence[str]
) -> dict[str, float] | None:
    values = {label: row[f"{prefix}_{label}"] for label in labels}
    # A face that was not classified has no value in any of the columns.
    return None if None in values.values() else values


@dataclass(frozen=True, slots=True)
class FrameReading:
    """The tracked faces in one frame and their predictions; `faces` is empty if there are none.

    Attributes:
        source: the path, address or name as given.
        frame: its number in the source, from 0.
        pts: its timestamp in the container's time base; None where there is no container.
        time_s: seconds on the player's clock: since the container's start.
        width: of the frame as displayed, in pixels.
        height: of the frame as displayed, in pixels.
        faces: by track number.
        until_s: end of the interval that it stands for: time of the next frame that is read, or
            of the source's end; None live, where it is not known yet.
    """

    source: str
    frame: int
    pts: int | None
    time_s: float
    width: int
    height: int
    faces: tuple[TrackedFace, ...] = ()
    until_s: float | None = None
