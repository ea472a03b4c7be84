"""Push a model to a Hugging Face hub: the ONNX file, its card and a manifest, and nothing else."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien import __version__
from mien.errors import ConfigError, ModelFileError
from mien.files import sha256
from mien.model.classifier import Classifier
from mien.model.hub import CARD_FILE, MODEL_FILE, SCHEMA_VERSION, check_repository, is_allowed
from mien.model.hub_errors import MANIFEST, ask_hub, endpoint, is_offline, load_library
from mien.publish.card_metadata import card_metadata, with_metadata

if TYPE_CHECKING:
    from mien.data.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Upload:
    """What a push sends; nothing was sent yet.

    Attributes:
        repository: 'user/name'.
        endpoint: address of the hub.
        name: of the model.
        files: content of each file, by its name in the repository.
    """

    repository: str
    endpoint: str
    name: str
    files: dict[str, bytes]


def prepare_upload(
    model: Path, repository: str, dataset: Dataset | None = None, *, note: str = ""
) -> Upload:
    """Return what a push of a model sends. Nothing is sent.

    Args:
        model: an ONNX file with its card beside it (.md), or a run folder, which is exported.
        repository: 'user/name' on the hub.
        dataset: of a run folder: its dataset, for the comparison with torch and for the metrics.
            Its images are not sent.
        note: of a run folder: text on the data for the model card.

    Raises:
        ConfigError: `dataset` is missing.
        MissingExtraError: huggingface_hub is not installed.
        ModelFileError: a wrong repository name, no card beside the file, or not a model of mien.
    """
    check_repository(repository)
    load_library("pushing a model to a hub")
    if not model.is_dir():
        return _upload(model, repository)
    if dataset is None:
        raise ConfigError("dataset: a run folder needs its dataset", hint="pass dataset")
    from mien.publish.export import export_run  # here: it imports torch

    with tempfile.TemporaryDirectory(prefix="mien-push-") as folder:
        exported = Path(folder) / MODEL_FILE
        export_run(model, exported, dataset, note=note)
        return _upload(exported, repository)


def _upload(model: Path, repository: str) -> Upload:
    # Loaded before anything else: what is not a model of mien never leaves this machine.
    info = Classifier.load(model).info
    card = model.with_suffix(".md")
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelFileError(
            f"{model} has no model card beside it: cannot read {card.name}",
            hint="models are published with their card; mien export and mien calibrate write one",
        ) from error
    files = {
        MODEL_FILE: model.read_bytes(),
        CARD_FILE: with_metadata(text, card_metadata(info, repository)).encode(),
    }
    return Upload(
        repository, endpoint(), info.name, {**files, MANIFEST: make_manifest(info.name, files)}
    )


def make_manifest(name: str, files: dict[str, bytes]) -> bytes:
    """Return the content of mien.json: the model's name, and each file's size and SHA-256."""
    values = {
        "schema": SCHEMA_VERSION,
        "name": name,
        "mien_version": __version__,
        "model": MODEL_FILE,
        "files": {
            file: {"bytes": len(content), "sha256": sha256(content)}
            for file, content in files.items()
        },
    }
    return (json.dumps(values, indent=2) + "\n").encode()


def push(upload: Upload, *, private: bool = False) -> str:
    """Send the files in one commit, so that no reader sees a half of it; return its address.

    The repository is created where there is none. Credentials come from HF_TOKEN or from
    huggingface_hub's own store.

    Args:
        upload: what `prepare_upload` returned.
        private: create a private repository; an existing one keeps its visibility.

    Returns:
        'hf://user/name@commit'.

    Raises:
        ModelFileError: offline, the hub cannot be reached, or refuses.
    """
    library = load_library("pushing a model to a hub")
    refused = [name for name in upload.files if not is_allowed(name)]
    if refused:
        raise ModelFileError(
            f"{refused[0]} is not a kind of file that mien pushes",
            hint="only .onnx, .safetensors, .json and .md files are pushed",
        )
    if is_offline():
        raise ModelFileError(
            "HF_HUB_OFFLINE forbids to push", hint="unset HF_HUB_OFFLINE and push again"
        )
    api = library.HfApi(library_name="mien", library_version=__version__)
    operations = [
        library.CommitOperationAdd(path_in_repo=name, path_or_fileobj=content)
        for name, content in upload.files.items()
    ]

    def send() -> str:
        api.create_repo(upload.repository, private=private, exist_ok=True)
        done = api.create_commit(upload.repository, operations, commit_message=f"Add {upload.name}")
        return str(done.oid)

    return f"hf://{upload.repository}@{ask_hub(upload.repository, send)}"
