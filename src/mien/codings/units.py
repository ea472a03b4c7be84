"""What several coders coded alike: files matched by name, tiers by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.codings.coding import Coding, Tier, fill_gaps
from mien.codings.read import SUFFIXES, read_coding
from mien.errors import ConfigError, DataError, counted, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Unit:
    """What all coders coded: one tier of one video, by each coder in turn.

    Attributes:
        name: the file's name, and the tier's where a file has several.
        tiers: of each coder, in the order of the coders.
        video: the file's name, the same for all tiers of a file; '' stands for `name`.
    """

    name: str
    tiers: tuple[Tier, ...]
    video: str = ""


@dataclass(frozen=True, slots=True)
class Matched:
    """Codings of several coders.

    Attributes:
        coders: a name for each, all different.
        units: at least one.
        unmatched: files and tiers that not all coders have, in words.
    """

    coders: tuple[str, ...]
    units: tuple[Unit, ...]
    unmatched: tuple[str, ...]


def match_codings(
    paths: Sequence[Path],
    *,
    tiers: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
    gap: str = "",
) -> Matched:
    """Return what all coders coded.

    Args:
        paths: a file or a folder for each coder, two or more. The files of folders are matched by
            their names without suffix: a folder holds one file for each video.
        tiers: the tier to compare: one name for all coders, or one for each. Without it tiers are
            matched by name; where each file has a single one, names need not be equal.
        rename: labels by the name that files give them.
        gap: label of the time between segments that people set; '' leaves it uncoded. Rows of
            mien are not filled: time without a row was not read.

    Raises:
        ConfigError: fewer than two paths, or a wrong number of tiers.
        DataError: a file cannot be read, no files match, or a tier is missing.
    """
    if len(paths) < 2:
        raise ConfigError(
            f"agreement needs two codings or more, got {len(paths)}",
            hint="give a file or a folder for each coder",
        )
    if len(tiers) not in (0, 1, len(paths)):
        raise ConfigError(
            f"tiers: got {counted(len(tiers), 'name')} for {counted(len(paths), 'coder')}",
            hint="give one name for all, or one for each in the same order",
        )
    names = list(tiers) * len(paths) if len(tiers) == 1 else list(tiers)
    files, unmatched = _match_files(paths)
    units: list[Unit] = []
    for stem, group in files.items():
        codings = [read_coding(path, rename) for path in group]
        found, others = _match_tiers(codings, names)
        unmatched += [f"{stem}: {text}" for text in others]
        for tier, chosen in found.items():
            # The tier's name tells units of one file apart.
            name = stem if len(found) == 1 else f"{stem}, {tier}"
            units.append(Unit(name, _filled(codings, chosen, gap), stem))
    return Matched(_coder_names(paths), tuple(units), tuple(unmatched))


def _match_files(paths: Sequence[Path]) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the files of all coders by name, and those that some coder lacks, in words."""
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return {paths[0].stem: list(paths)}, []
    if len(folders) < len(paths):
        alone = next(path for path in paths if not path.is_dir())
        raise ConfigError(
            f"{alone} is no folder, but {folders[0]} is one",
            hint="give files only, or folders only: their files are matched by name",
        )
    by_coder = [_files(folder) for folder in folders]
    common = [stem for stem in by_coder[0] if all(stem in files for files in by_coder)]
    everything = sorted({stem for files in by_coder for stem in files})
    unmatched = []
    for stem in everything:
        without = [str(f) for f, of in zip(folders, by_coder, strict=True) if stem not in of]
        if without:
            unmatched.append(f"{stem}: not in {', '.join(without)}")
    if not common:
        raise DataError(
            f"no file of {folders[0]} has a namesake in the other folders: "
            f"{', '.join(everything[:4])}",
            hint="name the files alike, such as a/p01.eaf and b/p01.csv",
        )
    return {stem: [files[stem] for files in by_coder] for stem in common}, unmatched


def _files(folder: Path) -> dict[str, Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DataError(
            f"{folder} holds no codings", hint=f"files with a suffix of: {', '.join(SUFFIXES)}"
        )
    counts = Counter(path.stem for path in found)
    for path in found:
        if counts[path.stem] > 1:
            raise DataError(
                f"{folder} holds several files named {path.stem}",
                hint="keep one file for each video",
            )
    return {path.stem: path for path in found}


def _match_tiers(
    codings: Sequence[Coding], names: Sequence[str]
) -> tuple[dict[str, list[Tier]], list[str]]:
    """Return the tiers of all coders by name, and the names that some coder lacks, in words."""
    if names:
        chosen = [_tier(c, name) for c, name in zip(codings, names, strict=True)]
        return {names[0]: chosen}, []
    if all(len(coding.tiers) == 1 for coding in codings):
        return {codings[0].tiers[0].name: [coding.tiers[0] for coding in codings]}, []
    by_coder = [{tier.name: tier for tier in coding.tiers} for coding in codings]
    common = [name for name in by_coder[0] if all(name in of for of in by_coder)]
    if not common:
        listed = "; ".join(f"{c.source}: {_names(c)}" for c in codings)
        raise DataError(
            f"no tier has the same name in all codings: {listed}",
            hint="name the tiers to compare, one for each coder",
        )
    everything = {name for of in by_coder for name in of}
    return (
        {name: [of[name] for of in by_coder] for name in common},
        [f"tier {name!r} is not in every coding" for name in sorted(everything - set(common))],
    )


def _tier(coding: Coding, name: str) -> Tier:
    for tier in coding.tiers:
        if tier.name == name:
            return tier
    near = did_you_mean(name, [tier.name for tier in coding.tiers])
    raise DataError(f"{coding.source} has no tier {name!r}", hint=f"{near}it has {_names(coding)}")


def _names(coding: Coding) -> str:
    return ", ".join(repr(tier.name) for tier in coding.tiers)


def _filled(codings: Sequence[Coding], tiers: Sequence[Tier], gap: str) -> tuple[Tier, ...]:
    """Return the tiers with the gaps of those that people coded filled."""
    if not gap:
        return tuple(tiers)
    # To the ends of the longest coding: people do not mark the time before the first smile.
    span = (min(t.span_s[0] for t in tiers), max(t.span_s[1] for t in tiers))
    return tuple(
        tier if coding.is_sampled else fill_gaps(tier, gap, span)
        for coding, tier in zip(codings, tiers, strict=True)
    )


def _coder_names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Return the last parts of the paths, as many as make them differ."""
    if len({path.stem for path in paths}) == len(paths):
        return tuple(path.stem for path in paths)
    if len({path.name for path in paths}) == len(paths):
        return tuple(path.name for path in paths)
    if len({str(path) for path in paths}) == len(paths):
        return tuple(str(path) for path in paths)
    twice = next(path for path in paths if [str(one) for one in paths].count(str(path)) > 1)
    raise ConfigError(f"{twice} is given twice", hint="give each coder's file or folder once")
