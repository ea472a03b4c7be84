"""What a command line names: images, folders, globs, lists, standard input; files to write."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING

import typer

from mien.addresses import find_address
from mien.errors import ConfigError, SourceError, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.predict.sources import ImageSource

STDIN = "-"
SHOWN = 3
"""Names that are printed of a long list."""
MAX_LISTED = 20
"""Problems that are printed one by one; of more, the first SHOWN and their number."""


@dataclass(slots=True)
class Inputs:
    """What a command line names.

    Attributes:
        images: in the order given; a folder's images, sorted, stand in its place.
        videos: videos, and folders that hold only videos.
        skipped: folders with images and videos, and how many videos lie in each.
        stdin_at: index in `images` before which an image on standard input is read; None if none.
    """

    images: list[ImageSource] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    skipped: dict[Path, int] = field(default_factory=dict)
    stdin_at: int | None = None


def find_inputs(words: Sequence[str], path_list: str | None) -> Inputs:
    """Return what the arguments and a list of paths name; each folder is walked once.

    Args:
        words: paths, folders, quoted globs, or '-' for an image on standard input.
        path_list: a file with a path a line (or NUL between them), or '-' for such a list on
            standard input; None for none.

    Raises:
        ConfigError: an empty name, an address, nothing at all; videos among images.
        SourceError: a glob that matches nothing, a list that cannot be read or is empty; none of
            many files exists.
    """
    inputs = Inputs()
    for word in words:
        if word != STDIN:
            for path in _matches(word):
                _add(inputs, path)
        elif inputs.stdin_at is not None:
            raise ConfigError("standard input is named twice", hint="it can be read once")
        else:
            inputs.stdin_at = len(inputs.images)
    if path_list is not None:
        if path_list == STDIN and inputs.stdin_at is not None:
            raise ConfigError(
                "standard input cannot be an image and a list of paths",
                hint="give the list as a file: --from-file LIST",
            )
        for path in read_list(path_list):
            _add(inputs, path)
    if inputs.videos and (inputs.images or inputs.stdin_at is not None):
        what = "is a video" if not inputs.videos[0].is_dir() else "holds only videos,"
        raise ConfigError(
            f"{inputs.videos[0]} {what} among images", hint="mien video reads both together"
        )
    _refuse_all_missing([source.path for source in inputs.images])
    return inputs


def read_list(name: str) -> list[Path]:
    """Return the paths in a list: one a line, or with NUL between them (find -print0).

    Raises:
        SourceError: it cannot be read, or names nothing.
    """
    where = "standard input" if name == STDIN else name
    try:
        content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read the list {where}: {error.strerror}", hint="check the path"
        ) from error
    content = content.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of Windows' editors
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise SourceError(f"the list {where} names nothing", hint="give one path a line")
    return paths


def refuse_address(word: str, command: str) -> None:
    """Raise a ConfigError where `word` is a URL; `command` reads local files."""
    address = find_address(word)
    if address is None:
        return
    if address.lower().startswith("file://"):
        raise ConfigError(
            f"{address} is an address; {command} reads local files",
            hint=f"give the path alone: {address[7:]}",
        )
    raise ConfigError(
        f"{address} is an address; {command} reads files on this machine",
        hint=f"{join(['curl', '-L', address])} | mien predict -; "
        "mien video reads http:// and rtsp:// addresses of videos",
    )


def _matches(word: str) -> Iterator[Path]:
    if not word.strip():
        raise ConfigError(
            "an empty name is among the images",
            hint="is a shell variable unset? '.' is the current folder",
        )
    refuse_address(word, "mien predict")
    path = Path(word)
    # A file may be called 'a[1].jpg': a pattern is only what is no file's name.
    if not has_magic(word) or os.path.lexists(word):
        yield path
        return
    matches = sorted(glob(word, recursive=True))  # noqa: PTH207  (an absolute pattern too)
    if not matches:
        raise SourceError(
            f"nothing matches {word}", hint="check the pattern; ** goes into folders: 'a/**/*.jpg'"
        )
    yield from map(Path, matches)


def _add(inputs: Inputs, path: Path) -> None:
    from mien.predict.folders import VIDEO_SUFFIXES, is_folder, walk_folder
    from mien.predict.sources import ImageSource, images_in

    if not is_folder(path):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            inputs.videos.append(path)
        else:
            inputs.images.append(ImageSource(path))
        return
    found = walk_folder(path)
    if found.videos and not found.images:
        inputs.videos.append(path)
        return
    if found.videos:
        inputs.skipped[path] = len(found.videos)
    inputs.images += images_in(found)


def _refuse_all_missing(paths: Sequence[Path]) -> None:
    """Raise, before a model is loaded, where no file of a long list exists."""
    if len(paths) <= MAX_LISTED or any(map(os.path.lexists, paths)):
        return
    first = ", ".join(map(str, paths[:SHOWN]))
    raise SourceError(
        f"none of {len(paths):,} files exists; the first: {first}",
        hint=f"paths count from the current folder, {Path.cwd()}",
    )


def print_some(kind: str, lines: Sequence[str]) -> None:
    """Print `kind: line` for each line on standard error, or for the first of very many."""
    shown = lines if len(lines) <= MAX_LISTED else lines[:SHOWN]
    for line in shown:
        typer.echo(f"{kind}: {line}", err=True)
    if len(lines) > len(shown):
        typer.echo(f"{kind}: and {len(lines) - len(shown):,} more", err=True)


def near(source: str) -> str:
    """Return "; did you mean 'x'?" for a file of nearly the name of a missing one, else ""."""
    from mien.files import near_file

    path = Path(source)
    found = "" if find_address(source) or os.path.lexists(path) else near_file(path)
    return f"; {found}".rstrip() if found else ""


def print_skipped_videos(skipped: dict[Path, int]) -> None:
    """Print which videos in folders of images are not read, and the command that reads them."""
    for folder, videos in skipped.items():
        typer.echo(
            f"note: {counted(videos, 'video')} in {folder} not read; "
            f"{join(['mien', 'video', str(folder)])} reads both",
            err=True,
        )


def refuse_file(path: Path | None, option: str, suffixes: Iterable[str] = ()) -> None:
    """Raise a ConfigError, before the work, where a file cannot be written at `path`.

    Args:
        path: of the file, or None.
        option: that names it, for the message.
        suffixes: that its name may end in; any where empty.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder", hint="give a file name")
    if not path.parent.exists():
        raise ConfigError(
            f"{option} {path}: there is no folder {path.parent}",
            hint=f"make it first: {join(['mkdir', '-p', str(path.parent)])}",
        )
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: {path.parent} is no folder", hint="choose a folder")
    known = tuple(suffixes)
    if known and path.suffix.lower() not in known:
        found = f"ends in {path.suffix}" if path.suffix else "has no ending"
        raise ConfigError(
            f"{option} {path}: the name {found}", hint=f"end it in {', '.join(known)}"
        )
