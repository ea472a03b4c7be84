"""The 'arrays' source: one NumPy file (.npz) that holds crops and labels as arrays.

images   uint8 [n, size, size], grey                                           required
labels   integers [n], an index into label_names; -1 for none                  required
label_names  str [k]; where absent, labels are FER2013's: 0 angry, 1 disgust,
         2 fear, 3 happy, 4 sad, 5 surprise, 6 neutral
usage    [n]: 0 Training, 1 PublicTest, 2 PrivateTest, or such names
votes    [n, k] raters' votes; vote_names str [k], where absent FERPlus's ten columns
names    str [n], name of each row
subjects str [n]

Any other array [n] of numbers or text, such as age_group, becomes a column of the dataset.
"""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.data.columns import TEXT_KINDS, column_name, text_values
from mien.data.dataset import Dataset
from mien.data.sources.fields import split_name
from mien.data.sources.resize import resize_crops
from mien.errors import DataError, did_you_mean
from mien.labels import FERPLUS_VOTES, SEVEN, canonical

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

KNOWN = ("images", "labels", "label_names", "usage", "votes", "vote_names", "names", "subjects")
_BROKEN = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip
"""Exceptions of NumPy and zipfile for damaged, encrypted or foreign files."""
USAGES = ("Training", "PublicTest", "PrivateTest")


def read_arrays(
    path: Path, size: int, progress: Callable[[int, int], None] | None = None
) -> Dataset:
    """Read an .npz file as documented above.

    Args:
        path: file to read.
        size: height and width of a crop, in pixels.
        progress: called once, with (n, n): the file is read in one go.

    Raises:
        DataError: not such a file, an array is missing, or shapes or values do not fit.
    """
    arrays = _load(path)
    for required in ("images", "labels"):
        if required not in arrays:
            raise DataError(
                f"{path} has no array {required!r}; it has: {_few(list(arrays)) or 'none'}",
                hint=did_you_mean(required, arrays) + "see the 'arrays' source in docs/data.md",
            )
    images, labels = arrays["images"], arrays["labels"]
    if images.ndim != 3 or images.dtype != np.uint8 or images.shape[1] != images.shape[2]:
        raise DataError(
            f"{path}: images must be uint8 [n, size, size], got {images.dtype} "
            f"{list(images.shape)}",
            hint="give grey, square crops, 0 to 255",
        )
    n = len(images)
    _check_shapes(path, arrays, n)
    label_names = _names(arrays, "label_names", SEVEN)
    votes, vote_names = _votes(path, arrays)
    if progress:
        progress(n, n)
    return Dataset.unsplit(
        name=path.stem,
        images_nhw=resize_crops(images, size),
        label_names=label_names,
        labels_n=_labels(path, labels, label_names),
        sources_n=_text(arrays.get("names"), n, prefix=f"{path.name}#"),
        source_splits_n=_splits(path, arrays.get("usage"), n),
        subjects_n=_text(arrays.get("subjects"), n),
        votes_nk=votes,
        vote_names=vote_names,
        columns={
            column_name(name): text_values(array)
            for name, array in arrays.items()
            if name not in KNOWN and array.shape == (n,) and array.dtype.kind in TEXT_KINDS
        },
        declared=label_names if "label_names" in arrays else (),
    )


def _few(names: list[str]) -> str:
    """Return the first names; a zip of images with the suffix .npz holds thousands."""
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more


def _load(path: Path) -> dict[str, NDArray[Any]]:
    hint = "write it with numpy.savez_compressed, without object arrays"
    try:
        if not zipfile.is_zipfile(path):
            # np.load would suggest allow_pickle=True, which runs code from the file.
            raise DataError(
                f"cannot read {path} as a NumPy .npz file: not a zip archive, or truncated",
                hint=hint,
            )
        with np.load(path, allow_pickle=False) as file:
            # While the file is open: np.load reads each array only when asked for it.
            return {name: file[name] for name in file.files}
    except _BROKEN as error:
        reason = str(error).split(" If you trust")[0]  # the rest suggests allow_pickle=True
        raise DataError(f"cannot read {path} as a NumPy .npz file: {reason}", hint=hint) from error


def _check_shapes(path: Path, arrays: dict[str, NDArray[Any]], n: int) -> None:
    """Raise a DataError for an array with a wrong number of axes or rows."""
    for name, array in arrays.items():
        axes = {"images": 3, "votes": 2}.get(name, 1)
        if name in KNOWN and array.ndim != axes:
            raise DataError(
                f"{path}: {name} must have {axes} axes, got shape {list(array.shape)}",
                hint="see the 'arrays' source in docs/data.md",
            )
        if name in KNOWN and not name.endswith("_names") and len(array) != n:
            raise DataError(
                f"{path}: {name} has {len(array)} rows, images has {n}",
                hint="every array needs one row per image",
            )


def _names(arrays: dict[str, NDArray[Any]], key: str, default: tuple[str, ...]) -> tuple[str, ...]:
    if key not in arrays:
        return default
    return tuple(canonical(str(name)) for name in arrays[key])


def _labels(path: Path, labels: NDArray[Any], names: tuple[str, ...]) -> NDArray[np.int64]:
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"{path}: labels must be integers [n], got {labels.dtype}",
            hint="each is an index into label_names, -1 for none",
        )
    wrong = np.flatnonzero((labels < -1) | (labels >= len(names)))
    if len(wrong):
        raise DataError(
            f"{path}: row {wrong[0]} has label {labels[wrong[0]]}, outside 0 to {len(names) - 1} "
            f"({len(wrong)} such rows)",
            hint=f"the labels are: {', '.join(names)}",
        )
    return labels.astype(np.int64)


def _votes(
    path: Path, arrays: dict[str, NDArray[Any]]
) -> tuple[NDArray[np.float32] | None, tuple[str, ...]]:
    if "votes" not in arrays:
        return None, ()
    votes = arrays["votes"]
    names = _names(arrays, "vote_names", FERPLUS_VOTES)
    counts = votes.dtype.kind in "iufb" and bool(np.isfinite(votes).all() and (votes >= 0).all())
    if votes.shape[1] != len(names) or not counts:
        raise DataError(
            f"{path}: votes must be finite numbers [n, {len(names)}], at least 0, got "
            f"{votes.dtype} {list(votes.shape)}",
            hint=f"its columns are: {', '.join(names)}; or give vote_names",
        )
    return votes.astype(np.float32), names


def _splits(path: Path, usage: NDArray[Any] | None, n: int) -> NDArray[np.str_]:
    if usage is None:
        return np.full(n, "", "<U10")
    if usage.dtype.kind in "iu":
        wrong = np.flatnonzero((usage < 0) | (usage >= len(USAGES)))
        if len(wrong):
            raise DataError(
                f"{path}: row {wrong[0]} has usage {usage[wrong[0]]}, outside 0 to 2",
                hint="0 is Training, 1 PublicTest, 2 PrivateTest",
            )
        # By number: each of the three names is translated once, not in every row.
        names_k = np.array([split_name(name, str(path)) for name in USAGES], "<U10")
        return names_k[usage.astype(np.int64)]
    texts = usage.astype(str).tolist()
    names = {text: split_name(text, f"{path}: usage") for text in set(texts)}
    return np.array([names[text] for text in texts], "<U10")


def _text(values: NDArray[Any] | None, n: int, prefix: str = "") -> NDArray[np.str_]:
    if values is not None:
        return values.astype(np.str_)
    return np.array([f"{prefix}{i}" if prefix else "" for i in range(n)], np.str_)
