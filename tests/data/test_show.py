from __future__ import annotations

import numpy as np

from mien.data.dataset import Dataset
from mien.data.show import contact_sheet, count_table


def test_counts_add_up(drawn: Dataset) -> None:
    counts = count_table(drawn)
    assert list(counts) == ["happy", "neutral", "sad"]
    assert sum(sum(row.values()) for row in counts.values()) == len(drawn)
    assert list(counts["happy"]) == ["train", "validation"]


def test_the_sheet_shows_faces_of_every_class(drawn: Dataset) -> None:
    sheet = contact_sheet(drawn, columns=5)
    bands = np.array_split(sheet, 3)
    assert all(band.std() > 20 for band in bands)
    assert np.array_equal(sheet, contact_sheet(drawn, columns=5))
