"""A dataset on disk and in memory: one manifest, one compact cache of grey crops.

manifest.parquet   one row per image: source, label, votes, subject, source_split, split,
                   group, sha256, phash; of image files their width and height, and the
                   box, score and landmarks of the face that was cropped (null: the whole image)
images.npy         uint8 [n, size, size], in the manifest's order
dataset.json       schema, names of labels and votes, how it was split, what was found
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import DataError, MissingExtraError
from mien.files import WriteError, atomic_write, write_error, write_json, write_text
from mien.installation import upgrade_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test", "excluded")
"""'excluded' holds the training copies of images that a model is graded on."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled grey face crops; every array shares its first axis.

    Attributes:
        name: of the collection.
        images_nhw: uint8 [n, size, size], grey; may be a read-only memory map.
        label_names: what `labels_n` indexes into.
        labels_n: int64 [n], -1 where a row has no label.
        votes_nk: float32 [n, k] raters' votes, or None where the source has none.
        vote_names: names of the votes' columns, in our spelling.
        splits_n: str [n], one of SPLITS.
        groups_n: int64 [n]; copies of one image, exact or near, share a number.
        sources_n: str [n], the path or row that each came from.
        subjects_n: str [n], '' where unknown.
        fingerprint: of images, labels, votes and splits, hexadecimal.
        facts: what was found on import: counts, copies, conflicts, how it was split.
    """

    name: str
    images_nhw: NDArray[np.uint8]
    label_names: tuple[str, ...]
    labels_n: NDArray[np.int64]
    votes_nk: NDArray[np.float32] | None
    vote_names: tuple[str, ...]
    splits_n: NDArray[np.str_]
    groups_n: NDArray[np.int64]
    sources_n: NDArray[np.str_]
    subjects_n: NDArray[np.str_]
    fingerprint: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images_nhw)

    def subset(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        """Return the rows of a mask or of indices, under the same name and fingerprint."""
        return replace(
            self,
            images_nhw=self.images_nhw[chosen],
            labels_n=self.labels_n[chosen],
            votes_nk=None if self.votes_nk is None else self.votes_nk[chosen],
            splits_n=self.splits_n[chosen],
            groups_n=self.groups_n[chosen],
            sources_n=self.sources_n[chosen],
            subjects_n=self.subjects_n[chosen],
        )

    def split(self, name: str) -> Dataset:
        """Return the rows of a split.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        chosen = self.splits_n == name
        if not chosen.any():
            present = [s for s in SPLITS if (self.splits_n == s).any()]
            hint = f"it has: {', '.join(present) or 'none'}"
            if name == "validation":
                hint += "; import it again with validation above 0 to hold images out"
            raise DataError(f"{self.name} has no {name} split", hint=hint)
        return self.subset(chosen)


def fingerprint(dataset: Dataset) -> str:
    """Return 16 hexadecimal digits over everything that training and evaluation depend on."""
    digest = hashlib.sha256(json.dumps([dataset.label_names, dataset.vote_names]).encode())
    for array in (dataset.images_nhw, dataset.labels_n, dataset.groups_n, dataset.votes_nk):
        if array is not None:
            digest.update(np.asarray(array).tobytes())
    digest.update("\n".join(dataset.splits_n.tolist()).encode())
    return digest.hexdigest()[:16]


def save_dataset(  # noqa: PLR0913  (each is a part of the folder, by name)
    dataset: Dataset,
    folder: Path,
    *,
    source_splits_n: NDArray[np.str_],
    sha256_n: list[str],
    phash_n: list[str],
    extra_files: dict[str, str] | None = None,
    extra_columns: dict[str, list[Any]] | None = None,
    force: bool = False,
) -> Dataset:
    """Write a dataset folder, whole or not at all; return it with its fingerprint.

    Args:
        dataset: to write.
        folder: to make.
        source_splits_n: the split that the source itself gave each row, '' where none.
        sha256_n: of each crop's pixels.
        phash_n: perceptual hash of each crop, 16 hexadecimal digits.
        extra_files: further text files, by name.
        extra_columns: further columns of the manifest, by name, a value a row.
        force: replace a dataset that stands there.

    Raises:
        DataError: something stands at `folder` already and `force` is not given, or is no dataset.
        WriteError: it could not be written; what stood there is as it was.
    """
    pyarrow, parquet = _pyarrow()
    refuse_existing(folder, force=force)
    dataset = replace(dataset, fingerprint=fingerprint(dataset))
    columns = {**_columns(dataset, source_splits_n), "sha256": sha256_n, "phash": phash_n}
    columns |= extra_columns or {}
    about = {
        "schema": SCHEMA_VERSION,
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "size": int(dataset.images_nhw.shape[1]),
        "label_names": list(dataset.label_names),
        "vote_names": list(dataset.vote_names),
        "facts": dataset.facts,
    }
    with _whole_or_not_at_all(folder) as beside:
        # Not np.save's own file: where a disk is full, that says neither so nor why.
        with atomic_write(beside / "images.npy") as stream:
            np.save(stream, dataset.images_nhw)
        parquet.write_table(pyarrow.table(columns), beside / "manifest.parquet")
        for name, text in (extra_files or {}).items():
            write_text(beside / name, text)
        write_json(beside / "dataset.json", about)
    return dataset


def _columns(dataset: Dataset, source_splits_n: NDArray[np.str_]) -> dict[str, Any]:
    votes = {} if dataset.votes_nk is None else {"votes": dataset.votes_nk.tolist()}
    return {
        "source": dataset.sources_n.tolist(),
        "label": [dataset.label_names[i] if i >= 0 else None for i in dataset.labels_n],
        **votes,
        "subject": dataset.subjects_n.tolist(),
        "source_split": source_splits_n.tolist(),
        "split": dataset.splits_n.tolist(),
        "group": dataset.groups_n.tolist(),
    }


@contextmanager
def _whole_or_not_at_all(folder: Path) -> Iterator[Path]:
    """Make a folder beside `folder`, which takes its place when the block ends well."""
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(
            tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part")
        )
        yield beside
        beside.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        beside.rename(folder)
    except (OSError, WriteError) as error:
        cause = error.__cause__ if isinstance(error, WriteError) else error
        if not isinstance(cause, OSError):
            raise
        # The folder that was asked for, not the one beside it that nobody knows of.
        raise write_error(folder, cause) from error
    finally:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)


def refuse_existing(folder: Path, *, force: bool) -> None:
    """Raise a DataError where `folder` stands already, unless a dataset may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "dataset.json").is_file():
        raise DataError(
            f"{folder} exists and is not a dataset of mien",
            hint="give a new folder; nothing was changed",
        )
    if not force:
        raise DataError(f"{folder} exists already", hint="--force replaces it")


def load_dataset(folder: Path) -> Dataset:
    """Read a dataset folder; its images are mapped into memory, not copied.

    Raises:
        DataError: not a dataset, damaged, or written by a newer mien.
    """
    about = _read_about(folder)
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(folder / "manifest.parquet")
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        columns = {name: table.column(name) for name in table.column_names}
        names = tuple(about["label_names"])
        index = {name: i for i, name in enumerate(names)}
        votes = columns.get("votes")
        dataset = Dataset(
            name=about["name"],
            images_nhw=images,
            label_names=names,
            labels_n=np.array([index.get(v, -1) for v in columns["label"].to_pylist()], np.int64),
            votes_nk=None if votes is None else np.array(votes.to_pylist(), np.float32),
            vote_names=tuple(about["vote_names"]),
            splits_n=np.array(columns["split"].to_pylist(), np.str_),
            groups_n=np.array(columns["group"].to_pylist(), np.int64),
            sources_n=np.array(columns["source"].to_pylist(), np.str_),
            subjects_n=np.array(columns["subject"].to_pylist(), np.str_),
            fingerprint=about["fingerprint"],
            facts=about["facts"],
        )
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"the dataset {folder} is damaged: {error}", hint="import it again with --force"
        ) from error
    if len(dataset.labels_n) != len(images):
        raise DataError(
            f"the dataset {folder} is damaged: {len(images)} images, "
            f"{len(dataset.labels_n)} rows in its manifest",
            hint="import it again with --force",
        )
    return dataset


def load_source_splits(folder: Path) -> NDArray[np.str_]:
    """Return the split that a dataset's source gave each row, str [n], '' where it gave none.

    Raises:
        DataError: not a dataset, or damaged.
    """
    _read_about(folder)
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(folder / "manifest.parquet", columns=["source_split"])
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"the dataset {folder} is damaged: {error}", hint="import it again with --force"
        ) from error
    return np.array(table.column("source_split").to_pylist(), "<U10")


def _read_about(folder: Path) -> dict[str, Any]:
    file = folder / "dataset.json"
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is not a dataset of mien: cannot read {file.name} ({error.strerror})",
            hint="make one: mien data import SOURCE OUT, or mien data draw OUT",
        ) from error
    except ValueError as error:
        raise DataError(f"{file} is damaged: {error}", hint="import it again") from error
    if not isinstance(about, dict) or not isinstance(about.get("schema"), int):
        raise DataError(f"{file} was not written by mien", hint="check the path")
    if about["schema"] > SCHEMA_VERSION:
        raise DataError(
            f"{folder} has dataset schema {about['schema']}; "
            f"this mien reads up to {SCHEMA_VERSION}",
            hint=f"upgrade mien: {upgrade_command()}",
        )
    return about


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("data", "reading and writing datasets") from error
    return pyarrow, parquet
