"""What rows depend on, written into the manifest and compared when a run is resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from hashlib import sha256
from importlib import metadata
from typing import TYPE_CHECKING, Any

from mien.files import plain
from mien.model.info import METADATA_KEY
from mien.scale.fingerprint import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from mien.model.info import ModelInfo

PACKAGES = ("numpy", "onnxruntime", "pillow", "av", "pyarrow")
"""Whose versions may change rows."""


def describe_run(
    kind: str,
    info: ModelInfo,
    model_sha256: str,
    settings: dict[str, Any],
    sources: Iterable[tuple[str, Path | None]],
) -> dict[str, Any]:
    """Return what the rows of a run depend on, as JSON types.

    Args:
        kind: 'images' or 'videos'.
        info: of the model.
        model_sha256: of its file.
        settings: of detection and classification.
        sources: name of each source and its file, in their order.
    """
    digest, count = sha256(), 0
    for name, path in sources:
        digest.update(f"{plain(name)}\0{_stamp(path)}\0".encode())
        count += 1
    return {
        "kind": kind,
        "model": json.loads(info.to_metadata()[METADATA_KEY]) | {"sha256": model_sha256},
        "settings": settings,
        "sources": {"n": count, "sha256": digest.hexdigest()},
        "versions": asdict(fingerprint()) | _versions(),
    }


def _stamp(path: Path | None) -> str:
    """Return size and time of a file: hashing hours of video would take longer than reading on."""
    try:
        stat = None if path is None else path.stat()
    except (OSError, ValueError):
        return "missing"
    return "" if stat is None else f"{stat.st_size} {stat.st_mtime_ns}"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
