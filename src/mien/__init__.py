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

if TYPE_CHECKING:
    from mien.client import Client
    from mien.reader import Reader
    from mien.types import UNSURE, FaceReading, ImageReading, Readings

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


_LAZY = {
    "Client": "mien.client",
    "FaceReading": "mien.types",
    "ImageReading": "mien.types",
    "Reader": "mien.reader",
    "Readings": "mien.types",
    "UNSURE": "mien.types",
}
"""Names and the modules that they are imported from when first used: those import NumPy."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
