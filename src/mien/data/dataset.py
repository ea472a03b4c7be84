"""The one dataset type: built by a source, then split, saved to a folder and loaded from it.

manifest.parquet   one row per image: source, label, votes, subject, source_split, split,
                   group, sha256, phash; for image files also source_width and source_height,
                   and face_box, face_score and face_landmarks of the face that was cropped
                   (null: the whole image is the crop); then one column of text for each further
                   column of the source, '' where it gives no value
images.npy         uint8 [n, size, size], in the manifest's order
dataset.json       schema version, label and vote names, fingerprint, facts about the import
skipped.csv        files that were not imported, with the reason
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.columns import MANIFEST_COLUMNS, text_values
from mien.data.duplicates import perceptual_hashes, pixel_hashes
from mien.data.records import SPLITS as SPLITS
from mien.data.records import Origin, Skipped, Thumbnail, read_skipped
from mien.errors import DataError, MissingExtraError
from mien.files import (
    JsonKind,
    atomic_folder,
    atomic_write,
    csv_text,
    read_schema_json,
    write_json,
    write_text,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
DATASET_JSON = JsonKind(
    noun="dataset",
    newest=SCHEMA_VERSION,
    required=("name", "label_names", "vote_names", "fingerprint", "facts"),
    error=DataError,
    if_missing="create one: mien data import SOURCE OUT, or mien data draw OUT",
    if_damaged="import it again",
)
_OLD_FACTS = {
    "copied_pictures": "duplicate_images",
    "copied_images": "duplicate_images",
    "copy_groups": "duplicate_groups",
    "exact_groups": "exact_duplicate_groups",
    "near_pairs": "near_duplicate_pairs",
    "excluded_copies": "excluded_duplicates",
}
"""Former names of facts, to be read until the next schema version."""


# eq=False: == of arrays is an array, which has no truth value.
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Labelled grey face crops; every array has one row per image.

    A source returns it unsplit (`Dataset.unsplit`): `splits_n` is '' everywhere and every image is
    a group of its own. `mien.data.build.split_dataset` then sets splits, groups, fingerprint and
    facts. An existing dataset never changes: use `dataclasses.replace`.

    Attributes:
        name: of the collection.
        images_nhw: uint8 [n, size, size], grey; may be a read-only memory map.
        label_names: what `labels_n` indexes into.
        labels_n: int64 [n], -1 where a row has no label.
        sources_n: str [n], the path or row that each image came from.
        source_splits_n: str [n], the split that the source gives, in our spelling; '' for none.
        subjects_n: str [n], who is on the image; '' where unknown.
        splits_n: str [n], one of SPLITS; '' before the dataset is split.
        groups_n: int64 [n]; exact and near-duplicates of one image share a number.
        votes_nk: float32 [n, k] raters' votes, or None where the source has none.
        vote_names: names of the columns of `votes_nk`, in our spelling.
        columns: further columns of the source by name, such as age group or lighting, each str
            [n], '' where the source gives no value; named by `mien.data.columns.column_name`.
        fingerprint: 16 hexadecimal digits over images, labels, votes, groups and splits; '' before
            the dataset is split.
        facts: about the import, as JSON types: duplicates, conflicts, how it was split.
        skipped: files that were not read.
        notes: files that were read with a warning.
        declared: classes that the source names, including those without any image.
        origins: where each crop comes from, [n]; empty where the source holds crops itself.
        thumbnails: images for the page of the import.
    """

    name: str
    images_nhw: NDArray[np.uint8]
    label_names: tuple[str, ...]
    labels_n: NDArray[np.int64]
    sources_n: NDArray[np.str_]
    source_splits_n: NDArray[np.str_]
    subjects_n: NDArray[np.str_]
    splits_n: NDArray[np.str_]
    groups_n: NDArray[np.int64]
    votes_nk: NDArray[np.float32] | None = None
    vote_names: tuple[str, ...] = ()
    columns: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    fingerprint: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[Skipped, ...] = ()
    declared: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = ()
    thumbnails: tuple[Thumbnail, ...] = ()

    def __post_init__(self) -> None:
        """Check that every array has one row per image, in constant time.

        Raises:
            DataError: one of them has another length.
        """
        arrays = {name: getattr(self, name) for name in _ROW_ARRAYS}
        arrays |= {f"column {k!r}": v for k, v in self.columns.items()}
        for name, rows in arrays.items():
            if rows is not None and len(rows) != len(self.images_nhw):
                raise DataError(
                    f"dataset {self.name!r}: {name} has {len(rows)} rows, images_nhw has "
                    f"{len(self.images_nhw)}",
                    hint="every array needs one row per image",
                )
        if self.origins and len(self.origins) != len(self.images_nhw):
            raise DataError(
                f"dataset {self.name!r}: {len(self.origins)} origins for {len(self.images_nhw)} "
                "images",
                hint="give one origin per image, or none at all",
            )

    @classmethod
    def unsplit(  # noqa: PLR0913 - one argument per field that a source knows
        cls,
        *,
        name: str,
        images_nhw: NDArray[np.uint8],
        label_names: tuple[str, ...],
        labels_n: NDArray[np.int64],
        sources_n: NDArray[np.str_],
        source_splits_n: NDArray[np.str_] | None = None,
        subjects_n: NDArray[np.str_] | None = None,
        votes_nk: NDArray[np.float32] | None = None,
        vote_names: tuple[str, ...] = (),
        columns: Mapping[str, NDArray[np.str_]] | None = None,
        facts: Mapping[str, Any] | None = None,
        skipped: tuple[Skipped, ...] = (),
        notes: tuple[Skipped, ...] = (),
        declared: tuple[str, ...] = (),
        origins: tuple[Origin, ...] = (),
        thumbnails: tuple[Thumbnail, ...] = (),
    ) -> Dataset:
        """Return what a source has read, without splits of ours and without groups of duplicates.

        The arguments are the attributes of the class; `source_splits_n` and `subjects_n` are None
        where the source has no splits, or names no subjects.
        """
        n = len(images_nhw)
        return cls(
            name=name, images_nhw=images_nhw, label_names=label_names, labels_n=labels_n,
            sources_n=sources_n,
            # Ten characters, for 'validation': NumPy cuts a longer text without a word.
            source_splits_n=np.full(n, "", "<U10") if source_splits_n is None else source_splits_n,
            subjects_n=np.full(n, "", np.str_) if subjects_n is None else subjects_n,
            splits_n=np.full(n, "", "<U10"), groups_n=np.arange(n, dtype=np.int64),
            votes_nk=votes_nk, vote_names=vote_names, columns=columns or {}, facts=facts or {},
            skipped=skipped, notes=notes, declared=declared, origins=origins, thumbnails=thumbnails,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.images_nhw)

    @property
    def size(self) -> int:
        """Height and width of a crop, in pixels."""
        return int(self.images_nhw.shape[1])

    @property
    def is_split(self) -> bool:
        """Whether `splits_n` is set: false for what a source has just read."""
        return bool((self.splits_n != "").any())

    def subset(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Dataset:
        """Return the rows of a mask or of indices, under the same name and fingerprint.

        Skipped files stay listed: they belong to no row.
        """
        # Masks and indices alike, for the tuple of origins, which NumPy cannot index.
        rows = np.arange(len(self))[chosen]
        parts: dict[str, Any] = {
            name: None if (values := getattr(self, name)) is None else values[chosen]
            for name in _ROW_ARRAYS
        }
        return replace(
            self,
            images_nhw=self.images_nhw[chosen],
            columns={name: values_n[chosen] for name, values_n in self.columns.items()},
            origins=tuple(self.origins[i] for i in rows) if self.origins else (),
            **parts,
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
                hint += (
                    "; import the source again with validation above 0, such as 0.15, to hold "
                    "images out"
                )
            raise DataError(f"{self.name} has no {name} split", hint=hint)
        return self.subset(chosen)

    def _repr_html_(self) -> str:
        from mien.data.show import dataset_html

        return dataset_html(self)


_ROW_ARRAYS = (
    "labels_n", "sources_n", "source_splits_n", "subjects_n", "splits_n", "groups_n", "votes_nk",
)  # fmt: skip
"""Arrays beside `images_nhw` with one row per image; `votes_nk` may be None."""


def fingerprint(dataset: Dataset) -> str:
    """Return 16 hexadecimal digits over everything that training and evaluation depend on."""
    digest = hashlib.sha256(json.dumps([dataset.label_names, dataset.vote_names]).encode())
    for array in (dataset.images_nhw, dataset.labels_n, dataset.groups_n, dataset.votes_nk):
        if array is not None:
            digest.update(np.asarray(array).tobytes())
    # As text: NumPy's string arrays have other bytes for another width.
    digest.update("\n".join(dataset.splits_n.tolist()).encode())
    return digest.hexdigest()[:16]


def save_dataset(
    dataset: Dataset,
    folder: Path,
    *,
    extra_files: Mapping[str, str] | None = None,
    force: bool = False,
) -> Dataset:
    """Write a dataset folder, whole or not at all; return the dataset with its fingerprint.

    Args:
        dataset: dataset to write.
        folder: folder to create.
        extra_files: contents of further text files by name, such as duplicates.csv.
        force: replace an existing dataset in `folder`.

    Raises:
        DataError: `folder` exists and `force` is false, or it holds something else than a dataset.
        WriteError: it could not be written; a dataset that was in `folder` is unchanged.
    """
    pyarrow, parquet = _pyarrow()
    refuse_existing(folder, force=force)
    dataset = replace(dataset, fingerprint=fingerprint(dataset))
    about = {
        "schema": SCHEMA_VERSION,
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "size": dataset.size,
        "label_names": list(dataset.label_names),
        "vote_names": list(dataset.vote_names),
        "facts": dict(dataset.facts),
    }
    skipped = [[record.source, record.reason, record.kind] for record in dataset.skipped]
    with atomic_folder(folder) as beside:
        # np.save to a path would report a full disk without naming the file or the reason.
        with atomic_write(beside / "images.npy") as stream:
            np.save(stream, dataset.images_nhw)
        parquet.write_table(pyarrow.table(_columns(dataset)), beside / "manifest.parquet")
        write_text(beside / "skipped.csv", csv_text(["source", "reason", "kind"], skipped))
        for name, text in (extra_files or {}).items():
            write_text(beside / name, text)
        # Last: a folder without this file does not count as a dataset.
        write_json(beside / "dataset.json", about)
    return dataset


def _columns(dataset: Dataset) -> dict[str, Any]:
    """Return the columns of the manifest; votes and origins only where there are any."""
    votes = {} if dataset.votes_nk is None else {"votes": dataset.votes_nk.tolist()}
    columns = {
        "source": dataset.sources_n.tolist(),
        # Names and not numbers, so that the table can be read without dataset.json.
        "label": [dataset.label_names[i] if i >= 0 else None for i in dataset.labels_n],
        **votes,
        "subject": dataset.subjects_n.tolist(),
        "source_split": dataset.source_splits_n.tolist(),
        "split": dataset.splits_n.tolist(),
        "group": dataset.groups_n.tolist(),
        "sha256": pixel_hashes(dataset.images_nhw).tolist(),
        "phash": perceptual_hashes(dataset.images_nhw).tolist(),
    }
    columns |= {name: values_n.tolist() for name, values_n in dataset.columns.items()}
    origins = dataset.origins
    if not origins:
        return columns
    return columns | {
        "source_width": [o.width for o in origins],
        "source_height": [o.height for o in origins],
        "face_box": [None if o.box is None else list(o.box) for o in origins],
        "face_score": [o.score for o in origins],
        "face_landmarks": [
            None if o.landmarks is None else [v for point in o.landmarks for v in point]
            for o in origins
        ],
    }


def refuse_existing(folder: Path, *, force: bool) -> None:
    """Raise a DataError where `folder` is not empty, unless it is a dataset and `force` is true."""
    # An empty folder holds nothing that could be lost.
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "dataset.json").is_file():
        raise DataError(
            f"{folder} exists and is not a dataset of mien",
            hint="give a new folder; nothing was changed",
        )
    if not force:
        raise DataError(f"{folder} exists already", hint="set force to replace it")


def load_dataset(folder: Path) -> Dataset:
    """Read a dataset folder; its images are mapped into memory, not copied.

    Origins, thumbnails and notes are not read back: only an import needs them.

    Raises:
        DataError: `folder` is not a dataset, is damaged, or was written by a newer mien.
    """
    about = read_schema_json(folder / "dataset.json", DATASET_JSON, shown=folder)
    pyarrow, parquet = _pyarrow()
    try:
        table = parquet.read_table(folder / "manifest.parquet")
        # No pickle: it would run code from a file that someone else may have made.
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        columns = {name: table.column(name).to_pylist() for name in table.column_names}
        # The two files are joined by row; a shift by one would mislabel everything.
        if table.num_rows != len(images):
            raise ValueError(f"{len(images)} images, {table.num_rows} rows in its manifest")
        names = tuple(about["label_names"])
        index = {name: i for i, name in enumerate(names)}
        votes = columns.get("votes")
        return Dataset(
            name=about["name"],
            images_nhw=images,
            label_names=names,
            labels_n=np.array([index.get(v, -1) for v in columns["label"]], np.int64),
            sources_n=np.array(columns["source"], np.str_),
            source_splits_n=np.array(columns["source_split"], "<U10"),
            subjects_n=np.array(columns["subject"], np.str_),
            splits_n=np.array(columns["split"], np.str_),
            groups_n=np.array(columns["group"], np.int64),
            votes_nk=None if votes is None else np.array(votes, np.float32),
            vote_names=tuple(about["vote_names"]),
            columns={
                name: text_values(np.array(["" if v is None else v for v in values]))
                for name, values in columns.items()
                if name not in MANIFEST_COLUMNS
            },
            fingerprint=about["fingerprint"],
            facts={_OLD_FACTS.get(key, key): value for key, value in about["facts"].items()},
            skipped=read_skipped(folder / "skipped.csv"),
        )
    except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"the dataset {folder} is damaged: {error}",
            hint="import it again, with force to replace it",
        ) from error


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingExtraError.of("data", "reading and writing datasets") from error
    return pyarrow, parquet
