"""Readings of a live source as streams of the Lab Streaming Layer (LSL).

Two streams: numbers of every face of every frame, and markers where a face's label changes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, MissingExtraError
from mien.types import UNSURE
from mien.video.sinks.base import Sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.types import TrackedFace
    from mien.video.frame import FrameResult

ABOUT = ("track", "label", "confidence", "unsure", "good")
"""Channels before the probabilities: the label is its index in the labels, -1 for unsure."""


class LslOutlet(Sink):
    """Sends readings over LSL.

    The stream NAME has a sample for each face and frame: the channels ABOUT, then p_LABEL of each
    label; nan is what is not known. A frame without a face is a sample of track 0. NAME-labels, of
    the type Markers, has '1: happy' where the label of track 1 becomes happy. Time stamps are those
    at which a reading was ready, so they include the time that it took.

    Args:
        name: of the stream.
        labels: of the model.

    Raises:
        ConfigError: the name is empty, or liblsl cannot be loaded.
        MissingExtraError: pylsl is not installed.
    """

    needs_pixels = False

    def __init__(self, name: str, labels: Sequence[str]) -> None:
        if not name.strip():
            raise ConfigError("lsl: the name is empty", hint="give a name, such as mien")
        self._lsl, self._name, self._labels = _load_lsl(), name, list(labels)
        self._numbers: Any = None
        self._markers: Any = None
        self._last: dict[int, str] = {}

    def open(self) -> None:
        """Make the streams visible to recorders."""
        lsl = self._lsl
        channels = [*ABOUT, *(f"p_{label}" for label in self._labels)]
        # The same source again is the same stream: recorders then reconnect after a restart.
        info = lsl.StreamInfo(
            self._name, "Expression", len(channels), lsl.IRREGULAR_RATE, lsl.cf_double64,
            f"mien-{self._name}",
        )  # fmt: skip
        listed = info.desc().append_child("channels")
        for channel in channels:
            one = listed.append_child("channel").append_child_value("label", channel)
            one.append_child_value("type", "probability" if channel not in ABOUT else channel)
        self._numbers = lsl.StreamOutlet(info)
        self._markers = lsl.StreamOutlet(
            lsl.StreamInfo(
                f"{self._name}-labels", "Markers", 1, lsl.IRREGULAR_RATE, lsl.cf_string,
                f"mien-{self._name}-labels",
            )
        )  # fmt: skip

    def write(self, result: FrameResult) -> None:
        """Send the faces of a frame."""
        now_s = self._lsl.local_clock()
        faces = result.reading.faces
        for face in faces:
            self._numbers.push_sample(self._sample(face), now_s)
            if face.label is not None and self._last.get(face.track) != face.label:
                self._last[face.track] = face.label
                self._markers.push_sample([f"{face.track}: {face.label}"], now_s)
        if not faces:
            self._numbers.push_sample([0.0, *[math.nan] * (4 + len(self._labels))], now_s)

    def _sample(self, face: TrackedFace) -> list[float]:
        known = face.probabilities
        label = math.nan
        if face.label is not None:
            label = float(self._labels.index(face.label)) if face.label in self._labels else -1.0
        return [
            float(face.track),
            label,
            math.nan if face.confidence is None else face.confidence,
            math.nan if face.confidence is None else float(face.label == UNSURE),
            float(face.quality == "good"),
            *(math.nan if known is None else known[label] for label in self._labels),
        ]


def _load_lsl() -> Any:
    try:
        import pylsl
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("lsl", "a stream of the Lab Streaming Layer") from error
    except (RuntimeError, OSError) as error:
        # pylsl's wheels carry liblsl for the usual systems only.
        raise ConfigError(
            f"lsl: liblsl cannot be loaded: {str(error).splitlines()[0]}",
            hint="install liblsl (github.com/sccn/liblsl), or set PYLSL_LIB to its file",
        ) from error
    return pylsl
