"""The registry of data sources, and detection of a source's format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from stat import S_ISDIR, S_ISREG
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from mien.data.sources.arrays import read_arrays
from mien.data.sources.fields import check_size
from mien.data.sources.folders import read_folders
from mien.data.sources.shards import read_parquet, read_webdataset
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
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from mien.data.dataset import Dataset
    from mien.data.sources.images import ImageCropper


class ReadCrops(Protocol):
    """Reads a source that holds crops."""

    def __call__(
        self, path: Path, size: int, progress: Callable[[int, int], None] | None = None, /
    ) -> Dataset:
        """Return an unsplit dataset; `progress` is called with (done, total), at last (n, n)."""
        ...


class ReadImages(Protocol):
    """Reads a source that holds image files."""

    def __call__(
        self,
        path: Path,
        size: int,
        progress: Callable[[int, int], None] | None = None,
        cropper: ImageCropper | None = None,
        /,
    ) -> Dataset:
        """Return an unsplit dataset; `progress` is called with (done, total), at last (n, n)."""
        ...


@dataclass(frozen=True, slots=True)
class CropSource:
    """A format that holds crops. Its rows have an order, so that votes can be joined to them.

    Attributes:
        description: one line, for people.
        read: reads it.
    """

    description: str
    read: ReadCrops


@dataclass(frozen=True, slots=True)
class ImageSource:
    """A format that names image files, in which faces can be detected.

    Attributes:
        description: one line, for people.
        read: reads it.
    """

    description: str
    read: ReadImages


SOURCES: Mapping[str, CropSource | ImageSource] = MappingProxyType(
    {
        "folders": ImageSource(
            "a folder per class (happy/*.jpg), optionally within a folder per split", read_folders
        ),
        "list": ImageSource("a CSV of path,label[,split,subject] and further columns", read_list),
        "fer2013": CropSource("FER2013's CSV: emotion,pixels,Usage", read_fer2013),
        "arrays": CropSource(
            "a NumPy .npz of images and labels, optionally usage, votes, names, subjects",
            read_arrays,
        ),
        "webdataset": ImageSource(
            "WebDataset's .tar shards: NAME.jpg with NAME.cls, NAME.txt or NAME.json",
            read_webdataset,
        ),
        "parquet": ImageSource(
            "Parquet with image bytes, as on the Hugging Face hub: image,label", read_parquet
        ),
    }
)
"""Every format that is read, by its name; tests/data/test_source_contract.py checks each."""


def read_source(
    source: Path,
    format: str = "",
    votes: Path | None = None,
    size: int = 48,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Read labelled images in any registered format.

    Args:
        source: folder or file.
        format: one of SOURCES; '' detects it.
        votes: FERPlus's vote file, or None.
        size: height and width of a crop, 8 to 1024 pixels.
        progress: called with (done, total), total 0 while it is unknown; at last (n, n).
        cropper: how image files become crops; whole where None.

    Returns:
        The unsplit dataset.

    Raises:
        DataError: the source is missing or cannot be used.
        ConfigError: unknown format, `size` out of range, faces='find' for a source of crops, or
            votes for a source whose rows have no order.
    """
    check_size(size)
    if format and format not in SOURCES:
        raise ConfigError(
            f"format: unknown value {format!r}",
            hint=did_you_mean(format, SOURCES) + f"allowed: {', '.join(SOURCES)}",
        )
    reader = SOURCES[format or detect_format(source)]
    if isinstance(reader, ImageSource):
        if votes is not None:
            raise ConfigError(
                f"votes: they are joined by row, and the rows of {source} have no order",
                hint="use votes with FER2013's CSV, or put them into an .npz",
            )
        return reader.read(source, size, progress, cropper)
    if cropper is not None and cropper.faces == "find":
        raise ConfigError(
            f"faces: 'find' needs image files, and {source} holds crops",
            hint="set faces to 'whole' or 'auto'",
        )
    dataset = reader.read(source, size, progress)
    if votes is None:
        return dataset
    counts = read_votes(votes, len(dataset))
    return replace(dataset, votes_nk=counts, vote_names=FERPLUS_VOTES)


def detect_format(source: Path) -> str:
    """Return the name of a source's format, one of SOURCES.

    Raises:
        DataError: the source does not exist, or is in none of the formats.
    """
    try:
        kind = source.stat().st_mode
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist", hint="check the path") from error
    except OSError as error:
        raise DataError(f"cannot read {source}: {error.strerror}", hint="check the path") from error
    if S_ISDIR(kind):
        return _folder_format(source)
    suffix = source.suffix.lower()
    if suffix in BY_SUFFIX:
        return BY_SUFFIX[suffix]
    if source.suffix.lower() in (".csv", ".txt"):
        # By content: both formats are .csv files.
        # A table without a header has its first row of pixels here, which `is_pixels` recognises.
        header = {name.lower() for name in read_header(source)}
        crops = "pixels" in header or ("path" not in header and any(map(is_pixels, header)))
        return "fer2013" if crops else "list"
    if _is_archive(source):
        raise DataError(
            f"{source} is an archive, which cannot be read",
            hint="unpack it, then import the folder of class folders in it",
        )
    raise DataError(
        f"{source} is in no known format",
        hint="; ".join(f"{name}: {known.description}" for name, known in SOURCES.items()),
    )


BY_SUFFIX = {".npz": "arrays", ".tar": "webdataset", ".parquet": "parquet"}
"""Formats by the suffix of their files."""


def _folder_format(folder: Path) -> str:
    """Return the format of a folder: of shards, if there are any in it; else of class folders."""
    suffixes = {path.suffix.lower() for path in folder.iterdir() if not path.is_dir()}
    if not suffixes & {".tar", ".parquet"} and (folder / "data").is_dir():
        # The hub's layout: README.md, and the shards in data/.
        suffixes = {path.suffix.lower() for path in (folder / "data").iterdir()}
    for suffix in (".tar", ".parquet"):
        if suffix in suffixes:
            return BY_SUFFIX[suffix]
    # Any folder: its reader says which class folders it misses.
    return "folders"


def _is_archive(source: Path) -> bool:
    """Return whether a file is an archive, by its first bytes or its name."""
    try:
        # Opening a named pipe would wait for a writer.
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
