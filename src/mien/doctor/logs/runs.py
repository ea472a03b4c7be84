"""Which files belong to one run: read `runs_of` first."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING

from mien.doctor.logs.columns import HELD_OUT, Role, role_of
from mien.doctor.logs.files import TABLES, is_events

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Series = dict[str, dict[int, float]]
"""Name → step → value."""
TRAINING = {"train", "training"}
"""Words for the training split, beside `HELD_OUT` for the others."""
LOSSES: set[Role | None] = {"loss", "validation loss"}


@dataclass(slots=True)
class Part:
    """What certainly belongs to one run: the event files of a folder, or one table.

    Attributes:
        name: the folder or the table, relative to what was searched.
        home: the folder whose parts may belong to the same run.
        series: the values.
        remarks: what could not be read, in sentences.
    """

    name: str
    home: PurePath
    series: Series = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    @property
    def losses(self) -> set[Role | None]:
        """Return the losses of which it has values."""
        return {role_of(name) for name, values in self.series.items() if values} & LOSSES


def parts_of(path: Path, read: Mapping[Path, tuple[Series, str]]) -> list[Part]:
    """Return the parts of the files that were read in `path`, in their order.

    Args:
        path: the folder that was searched, or the only file.
        read: file → its series, and in sentences what could not be read, or ''.
    """
    parts: dict[PurePath, Part] = {}
    for file, (series, remark) in read.items():
        within = PurePath(file.name) if file == path else file.relative_to(path)
        # TensorBoard's runs are folders: a resumed training adds a file to its folder.
        place = within.parent if is_events(file) else within
        part = parts.setdefault(place, Part(str(place), within.parent))
        for name, values in series.items():
            part.series.setdefault(name, {}).update(values)
        if remark:
            part.remarks.append(remark)
    _join_splits(parts)
    return list(parts.values())


def runs_of(parts: list[Part]) -> dict[str, list[Part]]:
    """Return the parts of each run by its name.

    Parts of one folder are one run, unless two of them have the same kind of loss: a curve would
    then hide the other. Where only one part has a loss, all others belong to it.
    """
    homes: dict[PurePath, list[Part]] = {}
    for part in parts:
        homes.setdefault(part.home, []).append(part)
    runs: dict[str, list[Part]] = {}
    for home, those in homes.items():
        kinds = [kind for part in those for kind in part.losses]
        if len(kinds) == len(set(kinds)):
            runs[those[0].name if len(those) == 1 else str(home)] = those
        else:
            runs |= {part.name: [part] for part in those}
    if sum(any(part.losses for part in run) for run in runs.values()) == 1:
        return {".": parts}
    return runs


def _join_splits(parts: Mapping[PurePath, Part]) -> None:
    """Give the parts that are splits of one run a common home, and their series distinct names.

    Keras writes a run as the folders train and validation, and PyTorch's add_scalars as loss_train
    and loss_val, each with a tag of the same name.
    """
    splits: dict[PurePath, list[tuple[str, Part]]] = {}
    for place, part in parts.items():
        word = _split_word(place)
        if word:
            stem = re.sub(rf"[^a-z0-9]*{word}[^a-z0-9]*", "", _label(place))
            splits.setdefault(place.parent / stem, []).append((word, part))
    for home, those in splits.items():
        if len(those) < 2 or not any(word in TRAINING for word, _ in those):
            continue
        for word, part in those:
            part.home = home
            part.series = {f"{word}/{name}": values for name, values in part.series.items()}


def _split_word(place: PurePath) -> str:
    """Return the word in a name that stands for a split, or ''."""
    words = re.split(r"[^a-z0-9]+", _label(place))
    return next((word for word in words if word in TRAINING | HELD_OUT), "")


def _label(place: PurePath) -> str:
    # Of a folder such as v1.2_train the dot begins no suffix.
    name = place.name.lower()
    return name.removesuffix(place.suffix.lower()) if place.suffix.lower() in TABLES else name
