"""`mien push`: a model to a Hugging Face hub."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.extras import needs
from mien.cli.options import ModelNote, RunDatasetFolder
from mien.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from mien.publish.hub import Upload

RunOrFile = Annotated[
    Path,
    typer.Argument(
        metavar="MODEL", help="Run folder, or ONNX model file with its card (.md) beside it."
    ),
]
Repository = Annotated[str, typer.Argument(metavar="USER/NAME", help="Repository on the hub.")]
Private = Annotated[
    bool,
    typer.Option(
        "--private", help="Create a private repository; an existing one keeps its visibility."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Upload without asking.")]


def push(
    model: RunOrFile,
    repository: Repository,
    data: RunDatasetFolder = None,
    note: ModelNote = "",
    private: Private = False,
    yes: Yes = False,
) -> None:
    """Upload a model, its card and a manifest to a Hugging Face hub, after asking.

    A run folder is exported first. Images and data are never uploaded. Credentials come from
    HF_TOKEN or 'hf auth login'; HF_ENDPOINT chooses another hub.
    """
    upload = _prepare(model, repository, data, note)
    _print_plan(upload)
    if not yes:
        _confirm()
    from mien.publish.hub import push as send

    address = send(upload, private=private)
    typer.echo(address)
    typer.echo(f"load it with: mien predict IMAGES --model {address}", err=True)


def _prepare(model: Path, repository: str, data: Path | None, note: str) -> Upload:
    from mien.model.resolve import resolve

    source = resolve(model)
    if source.path is None or source.kind == "hub":
        raise ModelFileError(
            f"{model} is neither a run folder nor an ONNX file on this machine",
            hint="only models of your own are pushed: give a run folder or an ONNX file",
        )
    if not source.is_run:
        from mien.publish.hub import prepare_upload

        return prepare_upload(source.path, repository)
    with needs("train", "pushing a run folder"):
        from mien.data.dataset import load_dataset
        from mien.publish.hub import prepare_upload
        from mien.train.run.folder import open_run
    dataset = load_dataset(data or Path(open_run(source.path).data))
    return prepare_upload(source.path, repository, dataset, note=note)


def _print_plan(upload: Upload) -> None:
    typer.echo(f"{upload.name} to {upload.endpoint}/{upload.repository}:", err=True)
    for name, content in upload.files.items():
        typer.echo(f"  {name}  {len(content):,} bytes", err=True)
    typer.echo("  nothing else: no images, no data", err=True)


def _confirm() -> None:
    """Ask whether to upload; anything but yes ends the command.

    Raises:
        ConfigError: nobody can be asked, since standard input is not a terminal.
    """
    if not sys.stdin.isatty():
        raise ConfigError(
            "standard input is not a terminal, so nobody can confirm the upload",
            hint="add --yes to upload without asking",
        )
    if not typer.confirm("Upload these files?", err=True):
        typer.echo("nothing was uploaded", err=True)
        raise typer.Exit(1)
