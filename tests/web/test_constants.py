"""Constants that Python and the page's JavaScript both have are equal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from mien.imaging import pose
from mien.predict.detectors import DEFAULT, mtcnn, yunet
from mien.predict.detectors.mtcnn import FaceVerifier
from mien.predict.detectors.yunet import YuNet
from mien.report.web import WEB
from mien.serve.assets import WEB as SERVE
from mien.types import UNSURE
from mien.video import detect, pace, plan, quality, smooth, track
from mien.video.quality import QualityGate

APP = SERVE / "app"
CONSTANTS = (WEB / "app" / "constants.js").read_text(encoding="utf-8")
SETTINGS, GATE = plan.VideoSettings(), QualityGate()

PYTHON: dict[str, Any] = {
    "UNSURE": UNSURE,
    "QUALITY_REASONS": quality.REASONS,
    "GAP_S": pace.GAP_S,
    "GAP_INTERVALS": pace.GAP_INTERVALS,
    "LOST_INTERVALS": pace.LOST_INTERVALS,
    "RECENT_STEPS": pace._RECENT,
    "NEAR_STEPS": pace._NEAR,
    "DETECT_S": plan.DETECT_S,
    "CLASSIFY_S": plan.CLASSIFY_S,
    "LOST_S": SETTINGS.lost_s,
    "SHORTER_SIDE": detect.SHORTER_SIDE,
    "TIME_CONSTANT_S": SETTINGS.smooth_s,
    "FORGET_S": smooth.FORGET_S,
    "FADE_INTERVALS": smooth.FADE_INTERVALS,
    "MEASURE": track.MEASURE,
    "ACCELERATION": track.ACCELERATION,
    "REACH": track.REACH,
    "REACH_PER_S": track.REACH_PER_S,
    "RESIZE": track.RESIZE,
    "RESIZE_PER_S": track.RESIZE_PER_S,
    "SIMILAR": track.SIMILAR,
    "REACH_SIMILAR_PER_S": track.REACH_SIMILAR_PER_S,
    "APPEARANCE_WEIGHT": track.APPEARANCE_WEIGHT,
    "FORGIVEN_DISTANCE": track.FORGIVEN_DISTANCE,
    "UNSEEN_S": track.UNSEEN_S,
    "RARE_S": track.RARE_S,
    "CERTAIN_SCORE": track.CERTAIN_SCORE,
    "MIN_TRACK_SCORE": track.Tracker().min_score,
    "MIN_SIDE": GATE.min_side,
    "MIN_SHARPNESS": GATE.min_sharpness,
    "MAX_YAW": GATE.max_yaw,
    "MIN_INSIDE": GATE.min_inside,
    "MAX_COVERED": GATE.max_covered,
    "FACE": tuple(pose.FACE_53.tolist()),
    "STEPS": pose.STEPS,
    "DAMPING": pose.DAMPING,
    "YAW_KNOTS": tuple(map(list, pose.YAW_KNOTS)),
    "PITCH_KNOTS": tuple(map(list, pose.PITCH_KNOTS)),
    "DETECTOR": DEFAULT,
    "STRIDES": yunet.STRIDES,
    "FIRST_SIDE": yunet.SHORTER_SIDE,
    "MAX_NETWORK_PIXELS": yunet.MAX_PIXELS,
    "MAX_ENLARGED": yunet.MAX_ENLARGED,
    "CLOSER_BELOW": yunet.CLOSER_BELOW,
    "HINT_SCORE": yunet.HINT_SCORE,
    "CLEAR_HINT": yunet.CLEAR_HINT,
    "MAX_HINTS": yunet.MAX_HINTS,
    "MAX_LOOKS": yunet.MAX_LOOKS,
    "LOOK_SIDES": yunet.LOOK_SIDES,
    "LOOK_PIXELS": yunet.LOOK_PIXELS,
    "SAME_PLACE": yunet.SAME_PLACE,
    "CONFIRMED_SCORE": yunet.CONFIRMED_SCORE,
    "MIN_BOX": yunet.MIN_SCORE,
    "CERTAIN_BOX": yunet.CERTAIN_SCORE,
    "CERTAIN_FROM": yunet.CERTAIN_FROM,
    "VERIFICATION": yunet.VERIFICATION,
    "MIN_VERIFIED": yunet.MIN_VERIFIED,
    "HIGHEST_VERIFIED": yunet.HIGHEST_VERIFIED,
    "WITHIN": yunet.WITHIN,
    "OVERLAP": yunet.OVERLAP,
    "MAX_CANDIDATES": yunet.MAX_CANDIDATES,
    "FRAMING_SCALE": YuNet.framing.scale,
    "FRAMING_SHIFT_X": YuNet.framing.shift_x,
    "FRAMING_SHIFT_Y": YuNet.framing.shift_y,
    "VERIFIER_SIDE": mtcnn.VERIFIER_SIDE,
    "VERIFIER_SCALE": FaceVerifier.framing.scale,
    "WIDER": mtcnn.WIDER,
    "TURNED_AGAIN": mtcnn.TURNED_AGAIN,
    "MAX_VERIFIED": mtcnn.MAX_CANDIDATES,
}

ONLY_IN_JS = {
    "IMPOSSIBLE", "MAX_FORESIGHT_S", "MAX_DETECT_FRACTION", "MAX_DETECT_S",  # pacing in a browser
    "BITS", "HALF",  # Pillow's own
    "ASSETS", "NETWORKS", "FRAMING", "MAX_SIDE", "STEP_S", "MAX_PIXELS",
    "MAX_UNANSWERED",  # frames of a camera
    "FIRST_PASS", "USUAL_FACES", "TRIALS", "MAX_DIFFERENCE",  # the choice of WebGPU or WebAssembly
}  # fmt: skip
"""Constants of private mode that have no counterpart in Python."""


def value(text: str) -> Any:
    """The value of a JavaScript expression: a literal, or a fraction of two numbers."""
    numerator, slash, denominator = text.partition(" / ")
    return json.loads(numerator) / json.loads(denominator) if slash else json.loads(text)


def declared(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export const ([A-Z_]+) = (.+);$", text, re.MULTILINE))


def test_every_shared_constant_is_compared() -> None:
    constants = declared(CONSTANTS)
    assert set(constants) == set(PYTHON)


@pytest.mark.parametrize("name", PYTHON)
def test_constants_are_equal(name: str) -> None:
    constants = declared(CONSTANTS)
    expected = PYTHON[name]
    found = value(constants[name])
    assert (tuple(found) if isinstance(found, list) else found) == expected


def test_private_mode_has_no_other_copies() -> None:
    names: set[str] = set()
    for module in (APP / "private").glob("*.js"):
        for line in re.findall(r"^(?:export )?const ([A-Z].*);", module.read_text("utf-8"), re.M):
            names |= set(re.findall(r"\b([A-Z][A-Z_]+) = ", line))
    assert names == ONLY_IN_JS
