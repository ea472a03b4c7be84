"""MediaPipe's FaceDetection as a process: `mediapipe_faces.py short|full`, for bench/detectors.py.

It reads images from stdin, each as height and width (uint32, little-endian) and RGB bytes, and
writes a line of JSON for each: `boxes` (left, top, right, bottom in pixels, best first) and
`seconds` (CPU time).
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time

import mediapipe as mp
import numpy as np


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # MediaPipe prints to stdout
    full = sys.argv[1] == "full"
    with mp.solutions.face_detection.FaceDetection(
        model_selection=int(full), min_detection_confidence=0.5
    ) as detector:
        while head := sys.stdin.buffer.read(8):
            height, width = struct.unpack("<II", head)
            pixels = np.frombuffer(sys.stdin.buffer.read(height * width * 3), np.uint8)
            pixels = pixels.reshape(height, width, 3)
            started = time.process_time()
            found = detector.process(pixels).detections or []
            seconds = time.process_time() - started
            found = sorted(found, key=lambda face: -face.score[0])
            places = [face.location_data.relative_bounding_box for face in found]
            boxes = [
                [p.xmin * width, p.ymin * height, (p.xmin + p.width) * width,
                 (p.ymin + p.height) * height] for p in places
            ]  # fmt: skip
            print(json.dumps({"boxes": boxes, "seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
