from __future__ import annotations

import json

import numpy as np
import pytest

from mien.types import FaceReading, Faces, ImageReading


def test_faces_check_their_shapes() -> None:
    boxes, scores = np.zeros((2, 4), np.float32), np.zeros(2, np.float32)
    assert len(Faces(boxes, scores, np.zeros((2, 5, 2), np.float32))) == 2
    assert len(Faces.none()) == 0
    with pytest.raises(ValueError, match=r"boxes_xyxy must be \[n, 4\], got \[2, 3\]"):
        Faces(boxes[:, :3], scores)
    with pytest.raises(ValueError, match=r"scores_n must be \[2\], got \[1\]"):
        Faces(boxes, scores[:1])
    with pytest.raises(ValueError, match=r"landmarks_n52 must be \[2, 5, 2\], got \[2, 4, 2\]"):
        Faces(boxes, scores, np.zeros((2, 4, 2), np.float32))


def test_reading_is_json() -> None:
    face = FaceReading((1.04, 2, 3, 4), 0.5, "happy", 0.75, {"happy": 0.75, "sad": 0.25})
    reading = ImageReading("a.jpg", 10, 20, "mtcnn", "mien-small", [face])
    assert json.loads(json.dumps(reading.to_dict())) == {
        "source": "a.jpg",
        "width": 10,
        "height": 20,
        "detector": "mtcnn",
        "model": "mien-small",
        "faces": [
            {
                "box": [1.0, 2, 3, 4],
                "box_inside": [1, 2, 3, 4],
                "score": 0.5,
                "label": "happy",
                "confidence": 0.75,
                "probabilities": {"happy": 0.75, "sad": 0.25},
            }
        ],
        "error": None,
        "turn": 0,
        "notes": [],
    }
