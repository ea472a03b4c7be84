"""Paths on a command line: images, folders, globs, lists, standard input; files to write."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from glob import glob, has_magic
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING

from mien.addresses import find_address
from mien.cli.streams import print_note
from mien.errors import ConfigError, SourceError, counted
from mien.storage import file_name, storage_address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.predict.sources import ImageSource

STDIN = "-"
MAX_LISTED = 20
"""Problems that are printed one by one; of more, only the first EXAMPLES and their number."""
EXAMPLES = 3


@dataclass(slots=True)
class InputPaths:
    """The images and videos that a command line names.

    Attributes:
        images: in the order given; a folder's images, sorted, stand in its place.
        videos: videos, and folders that hold only videos.
        skipped_videos: number of videos in each folder of images that holds some.
        stdin_at: index in `images` before which the image on standard input comes; None if there
            is none.
    """

    images: list[ImageSource] = field(default_factory=list)
    videos: list[Path] = field(default_factory=list)
    skipped_videos: dict[Path, int] = field(default_factory=dict)
    stdin_at: int | None = None


def input_paths(words: Sequence[str], listed: str | None) -> InputPaths:
    """Return the images and videos named by arguments and by a list of paths.

    Each folder is walked once.

    Args:
        words: paths, folders, quoted globs, or '-' for an image on standard input.
        listed: file with one path per line (or separated by NUL), or '-' for such a list on
            standard input; None for no list.

    Raises:
        ConfigError: an empty name, a URL, standard input twice, or videos among images.
        SourceError: a glob without a match, a list that is unreadable or empty, none of many
            files exists, or nothing but folders without images.
    """
    found = InputPaths()
    for word in words:
        if word == STDIN:
            if found.stdin_at is not None:
                raise ConfigError(
                    "standard input (-) is given twice", hint="it can be read once; give - once"
                )
            found.stdin_at = len(found.images)
        else:
            for path in _matches(word):
                _add(found, path)
    if listed is not None:
        if listed == STDIN and found.stdin_at is not None:
            raise ConfigError(
                "standard input cannot be an image and a list of paths",
                hint="give the list as a file: --from-file LIST",
            )
        for path in read_list(listed):
            _add(found, path)
    # Rows of images and of videos have other columns: one table cannot hold both.
    if found.videos and (found.images or found.stdin_at is not None):
        what = "holds only videos" if found.videos[0].is_dir() else "is a video"
        raise ConfigError(
            f"{found.videos[0]} {what}; images and videos cannot be mixed",
            hint="give the videos alone, or use mien video, which reads both",
        )
    _refuse_all_missing([source.path for source in found.images if source.address is None])
    _refuse_all_empty(found)
    return found


def read_list(name: str) -> list[Path]:
    """Return the paths in a list: one per line, or separated by NUL (find -print0).

    Raises:
        SourceError: it cannot be read, or holds no path.
    """
    where = "standard input" if name == STDIN else name
    try:
        content = sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()
    except OSError as error:
        raise SourceError(
            f"cannot read the list {where}: {error.strerror}",
            hint="give a text file with one path per line",
        ) from error
    content = content.removeprefix(b"\xef\xbb\xbf")  # the byte order mark of Windows' editors
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    # Bytes, because file names may be in no encoding at all.
    paths = [Path(os.fsdecode(line)) for line in lines if line.strip()]
    if not paths:
        raise SourceError(f"the list {where} holds no path", hint="give one path per line")
    return paths


def refuse_address(word: str, command: str) -> None:
    """Raise a ConfigError if `word` is a URL; `command` reads local files."""
    address = find_address(word)
    if address is None:
        return
    if address.lower().startswith("file://"):
        raise ConfigError(
            f"{address} is a URL; {command} reads local files",
            hint=f"give the path alone: {address[7:]}",
        )
    raise ConfigError(
        f"{address} is a URL; {command} reads local files",
        hint=f"{join(['curl', '-L', address])} | mien predict -; "
        "mien video reads http:// and rtsp:// URLs of videos",
    )


def _matches(word: str) -> Iterator[Path | str]:
    if not word.strip():
        raise ConfigError(
            "IMAGES holds an empty string",
            hint="is a shell variable unset? '.' is the current folder",
        )
    if storage_address(word) is not None:
        yield word  # not a Path, which would drop slashes
        return
    refuse_address(word, "mien predict")
    path = Path(word)
    # A file may be called 'a[1].jpg': only what is no file's name is a pattern.
    if not has_magic(word) or os.path.lexists(word):
        yield path
        return
    matches = sorted(glob(word, recursive=True))  # noqa: PTH207  (an absolute pattern too)
    if not matches:
        raise SourceError(
            f"no file matches {word!r}",
            hint="check the pattern; ** matches any number of folders: 'a/**/*.jpg'",
        )
    yield from map(Path, matches)


def _add(found: InputPaths, place: Path | str) -> None:
    from mien.predict.folders import VIDEO_SUFFIXES, is_folder, walk_folder
    from mien.predict.sources import ImageSource, images_in

    address = storage_address(place)
    if address is not None:
        _add_address(found, address)
        return
    path = Path(place)

    if not is_folder(path):
        if path.suffix.lower() in VIDEO_SUFFIXES:
            found.videos.append(path)
        else:
            found.images.append(ImageSource(path))
        return
    files = walk_folder(path)
    if files.videos and not files.images:
        found.videos.append(path)
        return
    if files.videos:
        # A folder of photos with some clips is common: they are counted, not refused.
        found.skipped_videos[path] = len(files.videos)
    # In place of the folder, so that rows come in the order of the arguments.
    found.images += images_in(files)


def _add_address(found: InputPaths, address: str) -> None:
    from mien.predict.folders import VIDEO_SUFFIXES
    from mien.predict.sources import images_at

    if Path(file_name(address)).suffix.lower() in VIDEO_SUFFIXES:
        raise ConfigError(
            f"{address} is a video; mien predict reads images at addresses",
            hint=join(["mien", "video", address]),
        )
    found.images += images_at(address)


def _refuse_all_missing(paths: Sequence[Path]) -> None:
    """Raise one error, before a model is loaded, if no file of a long list exists."""
    if len(paths) <= MAX_LISTED or any(map(os.path.lexists, paths)):
        return
    first = ", ".join(map(str, paths[:EXAMPLES]))
    raise SourceError(
        f"none of {len(paths):,} files exists; the first: {first}",
        hint=f"relative paths start at the current folder, {Path.cwd()}",
    )


def _refuse_all_empty(found: InputPaths) -> None:
    """Raise one error, before a model is loaded, if there are only folders without images.

    A folder without images beside others is listed instead: the others are worth reading.
    """
    from mien.predict.sources import IMAGE_SUFFIXES

    empty = [str(source.path) for source in found.images if source.error is not None]
    if not empty or len(empty) < len(found.images) or found.stdin_at is not None:
        return
    # A shell's glob may name hundreds of folders.
    names = ", ".join(empty[:EXAMPLES]) + (", ..." if len(empty) > EXAMPLES else "")
    verb = "holds" if len(empty) == 1 else "hold"
    raise SourceError(f"{names} {verb} no images", hint=IMAGE_SUFFIXES)


def print_problems(kind: str, lines: Sequence[str]) -> None:
    """Print `kind: line` to stderr for each line, or for the first ones of a long list."""
    # A long list must not scroll everything else away.
    shown = lines if len(lines) <= MAX_LISTED else lines[:EXAMPLES]
    for line in shown:
        print_note(f"{kind}: {line}")
    if len(lines) > len(shown):
        print_note(f"{kind}: and {len(lines) - len(shown):,} more")


def similar_file(source: str) -> str:
    """Return "; did you mean 'x'?" if a file is missing and another has a similar name, else ""."""
    from mien.files import near_file

    path = Path(source)
    found = "" if find_address(source) or os.path.lexists(path) else near_file(path)
    return f"; {found}".rstrip() if found else ""


def print_skipped_videos(skipped_videos: dict[Path, int]) -> None:
    """Print a note for each folder of images whose videos were skipped."""
    for folder, videos in skipped_videos.items():
        print_note(
            f"note: {counted(videos, 'video')} in {folder} skipped; "
            f"{join(['mien', 'video', str(folder)])} reads both"
        )


def refuse_file(path: Path | None, option: str, suffixes: Iterable[str] = ()) -> None:
    """Raise a ConfigError, before the work starts, if no file can be written at `path`.

    Args:
        path: of the file; None is accepted.
        option: option or argument that gave it, for the message.
        suffixes: allowed suffixes of its name; empty allows any.
    """
    if path is None:
        return
    if path.is_dir():
        raise ConfigError(f"{option} {path} is a folder", hint="give a file name")
    if not path.parent.exists():
        raise ConfigError(
            f"{option} {path}: the folder {path.parent} does not exist",
            hint=f"create it first: {join(['mkdir', '-p', str(path.parent)])}",
        )
    if not path.parent.is_dir():
        raise ConfigError(
            f"{option} {path}: {path.parent} is a file, not a folder", hint="give another path"
        )
    known = tuple(suffixes)
    if known and path.suffix.lower() not in known:
        found = f"the suffix is {path.suffix}" if path.suffix else "the name has no suffix"
        allowed = known[0] if len(known) == 1 else f"one of {', '.join(known)}"
        raise ConfigError(f"{option} {path}: {found}", hint=f"the suffix must be {allowed}")
