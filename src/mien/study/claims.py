"""Claims of a study, the families they belong to, and the checks of both.

A family holds the claims that answer one question. Its primary claims share an error rate of 5%,
its secondary claims another 5%: what is asked beside the main question costs it no power.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.errors import ConfigError, did_you_mean
from mien.study.measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison of a claim: `higher` minus `lower` in one measure, seed by seed.

    Attributes:
        higher: cell that has more, according to the claim.
        lower: cell that has less.
        measure: key of MEASURES.
        min_difference: smallest difference that matters, in the measure's units, above 0.
        spread: compare the spread over seeds instead of the values: each two consecutive seeds
            (0 and 1, 2 and 3, ...) give one absolute difference per cell.
        at_least: the claim is of a difference of `min_difference` or more, so that the mean must
            reach it. Otherwise it is of any difference that may matter.
    """

    higher: str
    lower: str
    measure: str = "accuracy"
    min_difference: float = 0.01
    spread: bool = False
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim, in words, and the comparisons that must all be supported.

    Attributes:
        words: the claim.
        comparisons: all of them must be supported.
        family: name of its family; '' in a study that declares none.
        primary: whether it answers the family's main question.
        where: condition under which the claim is tested, such as 'at lr 0.01 with Adam', for the
            sentence that says where a family's statement holds.
    """

    words: str
    comparisons: tuple[Comparison, ...]
    family: str = ""
    primary: bool = False
    where: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """Claims that are corrected for multiple testing together.

    Attributes:
        name: that claims refer to.
        words: the statement that its claims test under several conditions.
    """

    name: str
    words: str


def check_claim(claim: Claim, cells: Collection[str], where: str) -> None:
    """Raise a ConfigError for a claim without comparisons, or with one that cannot be made.

    Args:
        claim: of a factor.
        cells: names of the factor's cells.
        where: file and factor, for the message.
    """
    if not claim.comparisons:
        raise ConfigError(
            f"{where}: the claim {claim.words!r} has no comparisons",
            hint='add comparisons = [{ higher = "a", lower = "b" }]',
        )
    for comparison in claim.comparisons:
        check_measure(comparison.measure, where)
        for cell in (comparison.higher, comparison.lower):
            if cell not in cells:
                raise ConfigError(
                    f"{where}: a claim compares cell {cell!r}, which does not exist",
                    hint=did_you_mean(cell, cells) + f"its cells: {', '.join(cells)}",
                )
        # With 0, enough seeds would support a difference of any size, however small.
        if comparison.min_difference <= 0:
            raise ConfigError(
                f"{where}: min_difference must be above 0, got {comparison.min_difference}",
                hint="set the smallest difference that matters, such as 0.01",
            )


def check_measure(measure: str, where: str) -> None:
    """Raise a ConfigError for a measure that MEASURES lacks."""
    if measure not in MEASURES:
        raise ConfigError(
            f"{where}: unknown measure {measure!r}",
            hint=did_you_mean(measure, MEASURES) + f"measures: {', '.join(MEASURES)}",
        )


def check_families(families: Sequence[Family], claims: Sequence[Claim], file: str) -> None:
    """Raise a ConfigError unless every claim names a declared family with a primary claim.

    A study that declares no family, and whose claims name none, is one family.
    """
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        raise ConfigError(
            f"{file}: families need different names, got {names}",
            hint="rename one of the [[family]] tables",
        )
    for claim in claims:
        # Without families all claims are one family, and none of them names it.
        if claim.family not in names and (names or claim.family):
            found = f"names family {claim.family!r}" if claim.family else "names no family"
            raise ConfigError(
                f"{file}: the claim {claim.words!r} {found}; declared: "
                f"{', '.join(names) or 'none'}",
                hint=did_you_mean(claim.family, names)
                + 'set family = "..." in the claim to the name of a [[family]] table',
            )
    for name in names:
        if not any(claim.primary for claim in claims if claim.family == name):
            raise ConfigError(
                f"{file}: family {name} has no primary claim",
                hint="set primary = true in the claim that answers its main question",
            )
