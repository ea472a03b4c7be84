"""The forms of labelled collections, and which of them a source is in."""

from __future__ import annotations

from dataclasses import replace
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING

from mien.data.sources.arrays import read_arrays
from mien.data.sources.collection import check_size
from mien.data.sources.folders import read_folders
from mien.data.sources.tables import (
    is_pixels,
    read_fer2013,
    read_header,
    read_list,
    read_votes,
)
from mien.errors import ConfigError, DataError, did_you_mean
from mien.labels import FERPLUS_VOTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mien.data.sources.collection import Collection
    from mien.data.sources.images import ImageCropper

FORMS = {
    "folders": "a folder per class (happy/*.jpg), perhaps within a folder per split",
    "list": "a CSV of path,label[,split,subject]",
    "fer2013": "FER2013's CSV: emotion,pixels,Usage",
    "arrays": "a NumPy .npz of images, labels and, perhaps, usage, votes, names, subjects",
}


def read_source(
    source: Path,
    form: str,
    votes: Path | None,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Collection:
    """Read a labelled collection in any known form; `form` '' finds out which.

    Args:
        source: folder or file.
        form: one of FORMS, or ''.
        votes: FERPlus's vote file, or None.
        size: height and width of a crop, in pixels.
        progress: called with (done, total).
        cropper: how image files become crops; whole where None.

    Raises:
        DataError: the source is missing or cannot be used.
        ConfigError: an unknown form, or faces are to be found where there are only crops.
    """
    check_size(size)
    if form and form not in FORMS:
        raise ConfigError(
            f"no source form is called {form!r}",
            hint=did_you_mean(form, FORMS) + f"known: {', '.join(FORMS)}",
        )
    form = form or detect_form(source)
    if cropper is not None and cropper.faces == "find" and form in ("arrays", "fer2013"):
        raise ConfigError(
            f"faces: 'find' needs image files, and {source} holds crops",
            hint="take them whole (faces='whole' or 'auto')",
        )
    if form == "folders":
        collection = read_folders(source, size, progress, cropper)
    elif form == "arrays":
        collection = read_arrays(source, size)
    elif form == "fer2013":
        collection = read_fer2013(source, size, progress)
    else:
        collection = read_list(source, size, progress, cropper)
    if votes is None:
        return collection
    if form not in ("fer2013", "arrays"):
        raise ConfigError(
            "--votes joins by row, so it needs a source whose rows have an order",
            hint="use it with FER2013's CSV, or put the votes into an .npz",
        )
    counts = read_votes(votes, len(collection))
    return replace(collection, votes_nk=counts, vote_names=FERPLUS_VOTES)


def detect_form(source: Path) -> str:
    """Return the form of a source.

    Raises:
        DataError: it is missing, or in none of the known forms.
    """
    try:
        kind = source.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist", hint="check the path") from error
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}", hint="check the path") from error
    if S_ISDIR(kind):
        return "folders"
    if source.suffix.lower() == ".npz":
        return "arrays"
    if source.suffix.lower() in (".csv", ".txt"):
        header = {name.lower() for name in read_header(source)}
        crops = "pixels" in header or ("path" not in header and any(map(is_pixels, header)))
        return "fer2013" if crops else "list"
    if _is_archive(source):
        raise DataError(
            f"{source} is an archive, which is not read",
            hint="unpack it, then import the folder of class folders that it holds",
        )
    raise DataError(
        f"{source} is in no known form",
        hint="; ".join(f"{name}: {about}" for name, about in FORMS.items()),
    )


def _is_archive(source: Path) -> bool:
    """Return whether a file is an archive, by its first bytes or its name."""
    try:
        if not S_ISREG(source.stat().st_mode):
            return False
        with source.open("rb") as file:
            start = file.read(8)
    except OSError:
        return False
    suffixes = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar", ".zst")
    return (
        start.startswith((b"PK\3\4", b"Rar!", b"7z\xbc\xaf")) or source.suffix.lower() in suffixes
    )
