"""mien: facial expressions, read and learned.

We read expressions; we never say what someone feels.

    from mien import Reader
    for face in Reader().read("photo.jpg").faces:
        print(face.label, face.confidence, face.box)
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mien.errors import (
    ClusterError,
    ConfigError,
    DataError,
    MienError,
    MissingExtraError,
    ModelFileError,
    ResourceError,
    RunFolderError,
    ServerError,
    SourceError,
    TrainingError,
)
from mien.types import UNSURE, FaceReading, ImageReading, Readings

if TYPE_CHECKING:
    from mien.client import Client
    from mien.reader import Reader

__version__ = "0.1.0"

# A library prints nothing by itself; programs add a handler to the logger "mien".
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    "UNSURE",
    "Client",
    "ClusterError",
    "ConfigError",
    "DataError",
    "FaceReading",
    "ImageReading",
    "MienError",
    "MissingExtraError",
    "ModelFileError",
    "Reader",
    "Readings",
    "ResourceError",
    "RunFolderError",
    "ServerError",
    "SourceError",
    "TrainingError",
    "__version__",
]


def __getattr__(name: str) -> Any:
    # Importing ONNX Runtime takes most of a second: it waits until a Reader is needed.
    if name == "Reader":
        from mien.reader import Reader

        return Reader
    if name == "Client":
        from mien.client import Client

        return Client
    raise AttributeError(f"module 'mien' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
