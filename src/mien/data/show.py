"""A summary of a dataset: counts, facts, and a contact sheet of its images."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mien.data.records import SPLITS
from mien.report.cell import Table, cell_html

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NO_SPLIT, NO_LABEL = "no split", "no label"
CELL, GAP, MARGIN, CAPTION = 64, 4, 16, 26
"""Measures of the contact sheet in pixels: a face, the space around it, the edge, a title."""


class ShownDataset(Protocol):
    """What is shown of a dataset, such as mien.data.dataset.Dataset, which describes each."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def images_nhw(self) -> NDArray[np.uint8]: ...  # noqa: D102
    @property
    def label_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def labels_n(self) -> NDArray[np.int64]: ...  # noqa: D102
    @property
    def splits_n(self) -> NDArray[np.str_]: ...  # noqa: D102
    @property
    def vote_names(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def facts(self) -> Mapping[str, Any]: ...  # noqa: D102
    def __len__(self) -> int: ...


def count_table(
    dataset: ShownDataset, splits_n: NDArray[np.str_] | None = None
) -> dict[str, dict[str, int]]:
    """Return images per class and split: {label: {split: count}}, without empty splits.

    Args:
        dataset: images to count.
        splits_n: str [n], splits to count by; the dataset's own where None.
    """
    splits_n = dataset.splits_n if splits_n is None else splits_n
    splits = [s for s in (*SPLITS, "") if (splits_n == s).any()]
    rows: dict[str, dict[str, int]] = {}
    for index, name in [*enumerate(dataset.label_names), (-1, NO_LABEL)]:
        mask = dataset.labels_n == index
        if index >= 0 or mask.any():
            rows[name] = {s or NO_SPLIT: int((mask & (splits_n == s)).sum()) for s in splits}
    return rows


def describe(dataset: ShownDataset) -> dict[str, Any]:
    """Return what `mien data show --json` prints, as JSON types."""
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "n": len(dataset),
        "size": dataset.size,
        "votes": list(dataset.vote_names),
        "counts": count_table(dataset),
        **dataset.facts,
    }


def contact_sheet(dataset: ShownDataset, columns: int = 14, seed: int = 0) -> NDArray[np.uint8]:
    """Return a grey image, uint8 [h, w], with two rows of random faces for each class.

    Args:
        dataset: faces to show.
        columns: faces per row.
        seed: seed of the choice.
    """
    # Random and not the first ones: sources are often sorted by person or by date.
    rng = np.random.default_rng(seed)
    font = ImageFont.load_default(15)
    classes = [(i, n) for i, n in enumerate(dataset.label_names) if (dataset.labels_n == i).any()]
    width = 2 * MARGIN + columns * (CELL + GAP) - GAP
    height = MARGIN + len(classes) * (CAPTION + 2 * (CELL + GAP) + GAP) + MARGIN // 2
    sheet = Image.new("L", (width, height), 250)
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for index, name in classes:
        rows = np.flatnonzero(dataset.labels_n == index)
        pen.text((MARGIN, top), f"{name}   n = {len(rows):,}", fill=30, font=font)
        top += CAPTION
        chosen = rng.permutation(rows)[: 2 * columns]
        for position, row in enumerate(chosen):
            face = Image.fromarray(np.asarray(dataset.images_nhw[row]))
            x = MARGIN + position % columns * (CELL + GAP)
            y = top + position // columns * (CELL + GAP)
            sheet.paste(face.resize((CELL, CELL), Image.Resampling.BICUBIC), (x, y))
        top += 2 * (CELL + GAP) + GAP
    return np.asarray(sheet)


def dataset_html(dataset: ShownDataset) -> str:
    """Return class counts, warnings and a contact sheet for a notebook cell."""
    counts = count_table(dataset)
    splits = list(next(iter(counts.values()), {}))
    rows = [[label, *(f"{n:,}" for n in own.values())] for label, own in counts.items()]
    about = f"{len(dataset):,} grey images of {dataset.size} x {dataset.size} pixels"
    warnings = [f"warning: {one['message']}" for one in dataset.facts.get("warnings", [])]
    image = None
    if len(dataset):
        buffer = io.BytesIO()
        Image.fromarray(contact_sheet(dataset)).save(buffer, "PNG")
        image = buffer.getvalue()
    return cell_html(
        f"Dataset {dataset.name}", lines=[about, *warnings],
        tables=[Table(["class", *splits], rows)], image=image,
    )  # fmt: skip
