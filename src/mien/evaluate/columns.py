"""Columns of a dataset that images can be grouped by, for `mien evaluate --by`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mien.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mien.data.dataset import Dataset

NOT_GIVEN = "not given"
"""Group of the images for which the column has no value."""
MAX_GROUPS = 50
"""Maximum number of groups of a column."""


def grouping_columns(dataset: Dataset) -> Mapping[str, NDArray[np.str_]]:
    """Return the columns that hold any value, str [n] each, the source's further columns first.

    After them come mien's own: subject, source_split, source.
    """
    own = {
        "subject": dataset.subjects_n,
        "source_split": dataset.source_splits_n,
        "source": dataset.sources_n,
    }
    return {
        name: values_n
        for name, values_n in {**dataset.columns, **own}.items()
        if (values_n != "").any()
    }


def group_values(dataset: Dataset, column: str) -> NDArray[np.str_]:
    """Return the group of each image, str [n], NOT_GIVEN where the column has no value.

    Args:
        dataset: one split of a dataset, or the rows of it that have ground truth.
        column: name of the column, in any case.

    Raises:
        ConfigError: there is no such column.
        DataError: it has no value here, a single group, or more than MAX_GROUPS.
    """
    columns = grouping_columns(dataset)
    name = column.strip().lower()
    if name not in columns:
        known = {*dataset.columns, "subject", "source_split"}
        hint = f"the columns are: {', '.join(columns)}"
        if name in known:
            raise DataError(f"by: column {name!r} has no values in {dataset.name}", hint=hint)
        raise ConfigError(
            f"by: {dataset.name} has no column {column!r}", hint=did_you_mean(name, columns) + hint
        )
    values_n = np.where(columns[name] == "", NOT_GIVEN, columns[name])
    found = np.unique(values_n)
    if len(found) > MAX_GROUPS:
        raise DataError(
            f"by: column {name!r} has {len(found):,} values; at most {MAX_GROUPS}",
            hint="give a column of few groups, such as ranges of age instead of ages",
        )
    if len(found) < 2:
        raise DataError(
            f"by: column {name!r} has the single value {str(found[0])!r} in the evaluated images, "
            "at least 2 are needed",
            hint="give another column, or evaluate another split",
        )
    return values_n
