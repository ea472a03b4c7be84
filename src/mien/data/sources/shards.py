"""Shards of encoded images: WebDataset's .tar files, and Parquet with image bytes.

Both are unpacked into a temporary folder, shard by shard, and then read like any image files.
"""

from __future__ import annotations

import json
import re
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.dataset import Dataset
from mien.data.records import Skipped
from mien.data.sources.fields import SPLIT_NAMES, index_labels
from mien.data.sources.images import ImageCropper
from mien.errors import DataError, MissingExtraError, did_you_mean
from mien.files import plain
from mien.imaging.codec import SUFFIXES
from mien.labels import SEVEN, canonical, class_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MAX_IMAGE_BYTES = 200_000_000
"""Of one encoded image: a damaged header must not fill the memory."""
LABEL_SUFFIXES = (".cls", ".txt", ".json")
_SHARD_SPLIT = re.compile(r"[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Sample:
    """One encoded image.

    Attributes:
        name: of the image, unique in the source.
        content: the image file.
        label: name of its class; '' for none.
        split: that its shard belongs to, in our spelling; '' for none.
        error: why it cannot be used; '' if it can.
    """

    name: str
    content: bytes
    label: str
    split: str
    error: str = ""


def read_webdataset(
    path: Path,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Read WebDataset's shards: one .tar file, or a folder of them.

    Files of one sample share their name up to the first dot: 000.jpg with 000.cls (the class, as
    text or as a number), 000.txt (likewise) or 000.json (an object with 'label'). Numbers are
    names from a classes.txt beside the shards, one a line, or FER2013's seven where they fit.

    Args:
        path: shard or folder.
        size: height and width of a crop, in pixels.
        progress: called with (done, total), in images.
        cropper: how images become crops; ImageCropper() where None.

    Raises:
        DataError: no shard, a shard that is cut short or damaged, or a number without a name.
    """
    shards = shard_files(path, ".tar")
    names = _class_names(path)
    samples = (sample for shard in shards for sample in _tar_samples(shard, names))
    return _read(path, samples, size, progress, cropper)


def read_parquet(
    path: Path,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    cropper: ImageCropper | None = None,
) -> Dataset:
    """Read Parquet with image bytes, as data sets on the Hugging Face hub have it.

    A column 'image' holds the bytes, or a struct of 'bytes' and 'path'; a column 'label' the class
    as text, or as a number whose name is in the file's metadata.

    Args:
        path: file, or folder with files; the name of each may begin with its split, such as
            train-00000-of-00002.parquet.
        size: height and width of a crop, in pixels.
        progress: called with (done, total), in images.
        cropper: how images become crops; ImageCropper() where None.

    Raises:
        DataError: no file, a damaged one, other columns, or a number without a name.
        MissingExtraError: pyarrow is not installed.
    """
    files = shard_files(path, ".parquet")
    samples = (sample for file in files for sample in _parquet_samples(file))
    return _read(path, samples, size, progress, cropper)


def shard_files(path: Path, suffix: str) -> list[Path]:
    """Return the shards at a path, sorted.

    Raises:
        DataError: there is none.
    """
    if path.is_file():
        return [path]
    found = sorted(p for p in path.rglob(f"*{suffix}") if not p.name.startswith("."))
    if not found:
        what = "does not exist" if not path.exists() else f"holds no {suffix} files"
        raise DataError(f"{path} {what}", hint="check the path")
    return found


def _read(
    path: Path,
    samples: Iterator[Sample],
    size: int,
    progress: Callable[[int, int], None] | None,
    cropper: ImageCropper | None,
) -> Dataset:
    with tempfile.TemporaryDirectory(prefix="mien-shards-") as folder:
        files, kept, skipped = _unpack(samples, Path(folder))
        if not kept:
            raise DataError(f"{path} holds no images", hint="expected images with a class each")
        names = [sample.name for sample in kept]
        crops = (cropper or ImageCropper()).read(files, names, size, progress)
    chosen = [kept[i] for i in crops.kept]
    label_names, labels = index_labels([sample.label for sample in chosen], SEVEN)
    return Dataset.unsplit(
        name=path.resolve().name.partition(".")[0],
        images_nhw=crops.images_nhw,
        label_names=label_names,
        labels_n=labels,
        sources_n=np.array([sample.name for sample in chosen], np.str_),
        source_splits_n=np.array([sample.split for sample in chosen], "<U10"),
        # The names of files in the temporary folder mean nothing to anybody.
        skipped=(*skipped, *(_renamed(record, folder) for record in crops.skipped)),
        notes=tuple(crops.notes),
        origins=crops.origins,
        thumbnails=tuple(crops.thumbnails),
        facts=crops.facts(),
    )


def _renamed(record: Skipped, folder: str) -> Skipped:
    reason = re.sub(rf"{re.escape(folder)}\S*", record.source, record.reason)
    return Skipped(record.source, reason, record.kind)


def _unpack(
    samples: Iterator[Sample], folder: Path
) -> tuple[list[Path], list[Sample], list[Skipped]]:
    """Write the images into a folder; return files, samples without their content, and others."""
    files: list[Path] = []
    kept: list[Sample] = []
    skipped: list[Skipped] = []
    for number, sample in enumerate(samples):
        if sample.error:
            kind = "not-an-image" if not sample.content else "unreadable"
            skipped.append(Skipped(sample.name, f"{sample.name}: {sample.error}", kind))
            continue
        file = folder / f"{number:09d}{PurePosixPath(sample.name).suffix.lower() or '.jpg'}"
        file.write_bytes(sample.content)
        files.append(file)
        kept.append(Sample(sample.name, b"", sample.label, sample.split))
    return files, kept, skipped


def split_of(shard: Path) -> str:
    """Return the split that a shard's name begins with, in our spelling; '' for none."""
    word = _SHARD_SPLIT.match(shard.name)
    return SPLIT_NAMES.get(word.group().lower(), "") if word else ""


def _class_names(path: Path) -> Sequence[str]:
    place = (path if path.is_dir() else path.parent) / "classes.txt"
    if not place.is_file():
        return ()
    return [line.strip() for line in place.read_text("utf-8").splitlines() if line.strip()]


def _tar_samples(shard: Path, names: Sequence[str]) -> Iterator[Sample]:
    """Yield the samples of a shard; the files of one stand together in it."""
    count = 0
    group: dict[str, bytes] = {}
    key = ""
    for member, content in _members(shard):
        folder, _, name = member.rpartition("/")
        base, _, suffix = name.partition(".")
        own = f"{folder}/{base}" if folder else base
        if group and own != key:
            yield _sample(shard, key, group, names)
            count += 1
            group = {}
        key = own
        group[f".{suffix.lower()}"] = content
    if group:
        yield _sample(shard, key, group, names)


def _members(shard: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the files in a shard.

    Raises:
        DataError: it is cut short, damaged, or not a tar file.
    """
    count = 0
    try:
        with tarfile.open(shard, "r:*") as archive:
            for member in archive:
                if not member.isfile() or PurePosixPath(member.name).name.startswith("."):
                    continue
                if member.size > MAX_IMAGE_BYTES:
                    raise DataError(
                        f"{shard}: {member.name} has {member.size:,} bytes",
                        hint=f"files in a shard may have up to {MAX_IMAGE_BYTES:,}",
                    )
                stream = archive.extractfile(member)
                content = b"" if stream is None else stream.read()
                if len(content) < member.size:
                    raise tarfile.ReadError("unexpected end of data")
                yield member.name.removeprefix("./"), content
                count += 1
            # tarfile takes a missing end for the end: a whole archive ends in empty blocks.
            if not _has_end(archive):
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{shard} does not exist", hint="check the path") from error
        raise DataError(
            f"{shard} is cut short or damaged after {count:,} files: {error}",
            hint="copy or download it again; nothing was imported",
        ) from error


def _has_end(archive: tarfile.TarFile) -> bool:
    """Return whether a block of zeros stands where the last file ends."""
    stream = archive.fileobj
    if stream is None:
        return False
    stream.seek(archive.offset)
    return stream.read(tarfile.BLOCKSIZE) == tarfile.NUL * tarfile.BLOCKSIZE


def _sample(shard: Path, key: str, group: dict[str, bytes], names: Sequence[str]) -> Sample:
    split = split_of(shard)
    images = [suffix for suffix in group if f".{suffix.rpartition('.')[2]}" in SUFFIXES]
    name = plain(f"{shard.stem}/{key}{images[0] if images else ''}")
    if not images:
        found = ", ".join(sorted(group))
        return Sample(name, b"", "", split, f"no image among its files: {found}")
    return Sample(name, group[images[0]], _label(shard, key, group, names), split)


def _label(shard: Path, key: str, group: dict[str, bytes], names: Sequence[str]) -> str:
    """Return the class of a sample; '' where it has none."""
    for suffix in LABEL_SUFFIXES:
        if suffix not in group:
            continue
        text = group[suffix].decode("utf-8", "replace").strip()
        if suffix == ".json":
            try:
                value = json.loads(text).get("label", "")
            except (ValueError, AttributeError) as error:
                raise DataError(
                    f"{shard}: {key}.json is not a JSON object: {error}",
                    hint="expected an object with 'label'",
                ) from error
            text = str(value).strip()
        return _named(text, names or SEVEN, f"{shard}: {key}{suffix}")
    return ""


def _named(text: str, names: Sequence[str], where: str) -> str:
    """Return the name of a class, in our spelling, that is given by its name or its number."""
    if not text:
        return ""
    if not text.isdecimal():
        return class_name(plain(text), where)
    if int(text) >= len(names):
        raise DataError(
            f"{where}: class {text} has no name",
            hint="put a classes.txt beside the shards, one name a line, the first for 0",
        )
    return canonical(names[int(text)])


def _parquet_samples(file: Path) -> Iterator[Sample]:
    try:
        import pyarrow
        import pyarrow.parquet as pq
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("data", "reading Parquet") from error
    try:
        with pq.ParquetFile(file) as table:
            schema = table.schema_arrow
            names = _hub_names(schema.metadata)
            _check_columns(file, schema)
            count = 0
            for batch in table.iter_batches(64, columns=["image", "label"]):
                for row in batch.to_pylist():
                    yield _row(file, count, row, names)
                    count += 1
    except (pyarrow.ArrowException, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise DataError(f"{file} does not exist", hint="check the path") from error
        raise DataError(
            f"{file} is not a Parquet file, or it is damaged: {str(error).splitlines()[0][:160]}",
            hint="copy or download it again",
        ) from error


def _check_columns(file: Path, schema: Any) -> None:
    for name in ("image", "label"):
        if name not in schema.names:
            raise DataError(
                f"{file} has no column {name!r}; its columns are: {', '.join(schema.names[:8])}",
                hint=did_you_mean(name, schema.names) + "expected: image, label",
            )


def _hub_names(metadata: dict[bytes, bytes] | None) -> Sequence[str]:
    """Return the names of the classes in the hub's metadata of a file; empty for none."""
    try:
        found = json.loads((metadata or {})[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    return [str(name) for name in found] if isinstance(found, list) else ()


def _row(file: Path, number: int, row: dict[str, Any], names: Sequence[str]) -> Sample:
    image, label = row["image"], row["label"]
    content, own = image, ""
    if isinstance(image, dict):
        content, own = image.get("bytes"), str(image.get("path") or "")
    name = plain(f"{file.stem}/{number:06d}" + (f"-{PurePosixPath(own).name}" if own else ".jpg"))
    if not isinstance(content, bytes):
        return Sample(name, b"", "", split_of(file), "it has no image bytes")
    text = "" if label is None or label == -1 else str(label)
    return Sample(name, content, _named(text, names or SEVEN, f"{file}, row {number}"),
                  split_of(file))  # fmt: skip
