"""Models on a Hugging Face hub: addresses, the manifest of a model's files, and fetching them.

A file that was fetched once is read from huggingface_hub's local cache, and the hub is not asked
again, not even for a branch: predictions must not change because somebody pushed. Only the files
that the manifest names are fetched, and only of the kinds in `SUFFIXES`, none of which can carry
code.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import ModelFileError
from mien.files import JsonKind, read_schema_json
from mien.model.hub_errors import MANIFEST, ask_hub, load_library

SCHEME = "hf://"
SUFFIXES = frozenset({".onnx", ".safetensors", ".json", ".md"})
"""Kinds of files that are fetched and pushed; no pickles (.pt, .pth, .bin, .pkl)."""
MODEL_FILE = "model.onnx"
CARD_FILE = "README.md"
SCHEMA_VERSION = 1
DEFAULT_REVISION = "main"
TIMEOUT_S = 5.0
"""Seconds for an answer of the hub: an unreachable one is reported within 10 s."""
FORM = "hf://USER/NAME or hf://USER/NAME@REVISION"

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REPOSITORY = re.compile(f"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KIND = JsonKind(
    noun="hub manifest",
    newest=SCHEMA_VERSION,
    required=("model", "files"),
    error=ModelFileError,
    if_missing="push the model with: mien push RUN USER/NAME",
    if_damaged="push the model again, or delete it from the hub's local cache",
)


@dataclass(frozen=True, slots=True)
class HubAddress:
    """A model's repository on a hub.

    Attributes:
        repository: 'user/name'.
        revision: a branch, a tag or a commit.
    """

    repository: str
    revision: str = DEFAULT_REVISION

    def __str__(self) -> str:
        at = "" if self.revision == DEFAULT_REVISION else f"@{self.revision}"
        return f"{SCHEME}{self.repository}{at}"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A model file in huggingface_hub's local cache.

    Attributes:
        address: with the commit that the revision stood for.
        path: of the file; not yet opened.
        sha256: of its content, by the manifest.
    """

    address: HubAddress
    path: Path
    sha256: str


def parse_address(text: str) -> HubAddress:
    """Return the repository and revision in 'hf://user/name@revision'.

    Raises:
        ModelFileError: it has another form.
    """
    repository, at, revision = text[len(SCHEME) :].partition("@")
    revision = revision if at else DEFAULT_REVISION
    check_repository(repository, shown=text)
    if not _REVISION.fullmatch(revision) or ".." in revision:
        raise ModelFileError(
            f"{text}: {revision!r} is not a revision",
            hint=f"a revision is a branch, a tag or a commit: {FORM}",
        )
    return HubAddress(repository, revision)


def check_repository(repository: str, shown: str = "") -> None:
    """Raise a ModelFileError unless `repository` has the form 'user/name' that hubs accept."""
    parts = repository.split("/")
    valid = _REPOSITORY.fullmatch(repository) and all(len(part) <= 96 for part in parts)
    # Hubs refuse both, and '--' separates the parts of a name in the local cache.
    if not valid or "--" in repository or ".." in repository:
        raise ModelFileError(
            f"{shown or repository}: {repository!r} is not a repository's name",
            hint=f"letters, digits, '.', '_' and '-', up to 96 each: {FORM}",
        )


def fetch_model(address: HubAddress) -> HubFile:
    """Return the model file of a repository, from the local cache or else from the hub.

    Raises:
        MissingExtraError: huggingface_hub is not installed.
        ModelFileError: the hub cannot be reached or refuses, there is no such model, or its
            manifest is missing, invalid, or of a newer schema.
    """
    manifest = _fetch(address, MANIFEST)
    # The snapshot's folder is named after the commit. The model comes from the same commit, even
    # if somebody pushes to the branch between the two requests.
    pinned = HubAddress(address.repository, manifest.parent.name)
    name, sha256 = _read_manifest(manifest, address)
    return HubFile(pinned, _fetch(pinned, name), sha256)


def _read_manifest(path: Path, address: HubAddress) -> tuple[str, str]:
    """Return the name and SHA-256 of the model file that a manifest describes."""
    values = read_schema_json(path, _KIND, shown=Path(f"{address.repository}/{MANIFEST}"))
    files, name = values["files"], values["model"]
    names = [*files, name] if isinstance(files, dict) else []
    for one in names:
        if not is_allowed(one):
            raise ModelFileError(
                f"{address}: {MANIFEST} names {one!r}, which mien does not fetch",
                hint=f"allowed are file names without a folder that end in: "
                f"{', '.join(sorted(SUFFIXES))}",
            )
    entry = files.get(name) if names else None
    if entry is None or not _is_entry(entry) or not name.endswith(".onnx"):
        raise ModelFileError(
            f"{address}: {MANIFEST} gives no SHA-256 of an ONNX file",
            hint="push the model again with: mien push RUN USER/NAME",
        )
    return name, entry["sha256"]


def is_allowed(name: object) -> bool:
    """Return whether a file of this name may be fetched: no folder, and a suffix in `SUFFIXES`."""
    return (
        isinstance(name, str)
        and _FILE_NAME.fullmatch(name) is not None
        and Path(name).suffix in SUFFIXES
    )


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("sha256"), str)
        and _SHA256.fullmatch(entry["sha256"]) is not None
    )


def _fetch(address: HubAddress, name: str) -> Path:
    """Return the path of a file in the local cache; download it where it is not there."""
    hub = load_library("loading a model from a hub")
    at = {"repo_id": address.repository, "filename": name, "revision": address.revision}
    cached = hub.try_to_load_from_cache(**at)
    # The library marks a file that the hub lacks by an object of its own.
    if isinstance(cached, str) and os.path.exists(cached):  # noqa: PTH110  (a broken link is False)
        return Path(cached)

    def download() -> str:
        # The download alone would try an unreachable hub six times, for half a minute.
        hub.get_hf_file_metadata(hub.hf_hub_url(**at), timeout=TIMEOUT_S)
        return str(hub.hf_hub_download(**at, etag_timeout=TIMEOUT_S))

    return Path(ask_hub(str(address), download))
