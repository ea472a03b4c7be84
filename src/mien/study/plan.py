"""A study's plan: its factors, their cells, and the claims about them; read `load_plan` first.

A study is a TOML file beside the recipes. Each factor lists cells (names and the settings they
change), and claims that compare two of its cells by one measure.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
import json
import tomllib
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, did_you_mean
from mien.study.claims import Claim, Family, check_claim, check_families, check_measure
from mien.train.networks.registry import network_options
from mien.train.recipe.convert import apply_setting, from_mapping
from mien.train.recipe.find import find_recipe, find_study
from mien.train.recipe.recipe import load_recipe, recipe_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.train.recipe.recipe import Recipe

TABLES = {"factor": "factors", "family": "families"}
"""Names of the tables in a file, [[factor]], and in a Plan."""
DATA_SETTINGS = ("data.train", "data.validation")
"""Images used of each split (0 = all); the only settings of a cell that no recipe has. Below 1 in
a cell, data.train is a fraction of the study's own size."""

VERDICTS = "verdicts"
"""Name of the report's figure of all claims, beside those named after the factors."""


@dataclass(frozen=True, slots=True)
class Factor:
    """Cells that differ in one factor.

    Attributes:
        name: short, for file names and for `only`.
        title: for the report.
        cells: name → settings, such as {"0.01": {"optimizer.lr": 0.01}}.
        grid: setting → values; every combination becomes a cell, named by its values.
        claims: to be decided by the cells.
        shown: measures that the figure shows, from left to right; keys of MEASURES.
        set: settings of all its cells.
        note: a sentence for the report.
    """

    name: str
    title: str
    cells: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, Any] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    shown: tuple[str, ...] = ("accuracy", "gap")
    set: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """A study.

    Attributes:
        title: of the report.
        recipe: path or name of the recipe that the cells change.
        factors: of the study.
        families: of its claims; none makes all claims one family.
        seeds: trainings per cell, 2 or more; each seed samples its own images, order and initial
            weights.
        max_seeds: trainings per cell, at most, where undecided claims get more.
        train: training images per training (0 = all).
        validation: validation images, the same in all trainings (0 = all).
        set: settings of all cells.
        note: a paragraph for the report.
    """

    title: str
    recipe: str
    factors: tuple[Factor, ...]
    families: tuple[Family, ...] = ()
    seeds: int = 5
    max_seeds: int = 40
    train: int = 0
    validation: int = 0
    set: dict[str, Any] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, slots=True)
class Training:
    """One training of a cell: everything that its result depends on, except the data.

    Attributes:
        recipe: with the seed.
        train: training images; 0 = all, below 1 a fraction of all.
        validation: validation images, likewise.
        key: sixteen hexadecimal digits of the SHA-256 of all settings; the name of its folder.
    """

    recipe: Recipe
    train: float
    validation: float
    key: str = field(init=False)

    def __post_init__(self) -> None:
        """Compute the key once: a study looks it up again after every training."""
        values = {
            "recipe": self.recipe.to_dict(),
            "train": self.train,
            "validation": self.validation,
        }
        # Sorted, so that the order of the keys in a file does not change the training's key.
        digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
        object.__setattr__(self, "key", digest[:16])


def load_plan(path: Path, overrides: Sequence[str] = ()) -> Plan:
    """Return the study of a TOML file, or of the name of a shipped one ('poster').

    Args:
        path: of the file.
        overrides: settings of every training, 'a.b=c' each.

    Raises:
        ConfigError: an unknown key, an invalid setting of a cell, or a claim about unknown cells.
    """
    file = find_study(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{file} is not valid TOML: {error}", hint="fix that line; see recipes/study"
        ) from error
    _check_keys(values, file)
    for table, attribute in TABLES.items():
        values[attribute] = values.pop(table, [])
    plan: Plan = from_mapping(Plan, values, where="")
    changed: dict[str, Any] = {}
    for override in overrides:
        apply_setting(changed, override)
    expanded = tuple(_expanded(factor) for factor in plan.factors)
    plan = replace(plan, factors=expanded, set={**plan.set, **_flat(changed)})
    _check(plan, file)
    return plan


def _check_keys(values: dict[str, Any], file: Path) -> None:
    """Raise a ConfigError for an unknown key; the file spells its tables in the singular."""
    table_of = {attribute: table for table, attribute in TABLES.items()}
    known = [table_of.get(f.name, f.name) for f in fields(Plan)]
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{file}: unknown setting {key}",
                hint=did_you_mean(key, known) + f"allowed: {', '.join(known)}",
            )


def trainings(plan: Plan, factor: Factor, cell: str, seeds: int = 0) -> list[Training]:
    """Return a cell's trainings, one for each seed from 0; `seeds` overrides the plan's number."""
    # The nearest setting wins: cell, then factor, then study.
    settings = {**plan.set, **factor.set, **factor.cells[cell]}
    train, validation = (settings.pop(name, None) for name in DATA_SETTINGS)
    train = _size(train, plan.set.get(DATA_SETTINGS[0], plan.train), DATA_SETTINGS[0])
    validation = _size(validation, plan.validation, DATA_SETTINGS[1])
    text = json.dumps(settings, sort_keys=True)
    return [
        _training(plan.recipe, text, train, validation, seed) for seed in range(seeds or plan.seeds)
    ]


@functools.lru_cache(maxsize=10_000)
def _training(recipe: str, settings: str, train: float, validation: float, seed: int) -> Training:
    """Return a training; cached, because a study asks for all of them after every new seed.

    Args:
        recipe: path or name.
        settings: of the cell, as JSON.
        train: see `Training`.
        validation: see `Training`.
        seed: of the training.
    """
    # Only the seed differs: a cell's recipe is parsed and checked once.
    if seed:
        first = _training(recipe, settings, train, validation, 0)
        fit = replace(first.recipe.fit, seed=seed)
        return replace(first, recipe=replace(first.recipe, fit=fit))
    # apply_setting changes nested tables in place; the cached recipe must stay as it is.
    values = copy.deepcopy(_base(recipe))
    for key, value in json.loads(settings).items():
        apply_setting(values, f"{key}={_toml(value)}")
    # One thread on the CPU is reproducible on any machine, and trainings run in parallel.
    fixed = {**values["fit"], "threads": 1, "device": "cpu", "seed": 0}
    return Training(recipe_from_dict({**values, "name": "cell", "fit": fixed}), train, validation)


def _size(value: Any, default: Any, name: str) -> float:
    """Return a number of images, 0 for all, or a fraction of all of them."""
    size = default if value is None else value
    if isinstance(size, bool) or not isinstance(size, int | float) or size < 0:
        raise ConfigError(
            f"{name} must be a number of images, 0 or more, got {size!r}",
            hint="0 takes all; below 1 is a fraction of all",
        )
    if 0 < size < 1 and default:
        return int(size * default)
    return size if 0 < size < 1 else int(size)


def all_trainings(plan: Plan) -> Iterator[tuple[Factor, str, Training]]:
    """Yield every training of the study; factors may have some in common."""
    for factor in plan.factors:
        for cell in factor.cells:
            for training in trainings(plan, factor, cell):
                yield factor, cell, training


@functools.cache
def _base(recipe: str) -> dict[str, Any]:
    return load_recipe(find_recipe(Path(recipe))).to_dict()


def _expanded(factor: Factor) -> Factor:
    """Return the factor with a cell for each combination of its grid."""
    cells = dict(factor.cells)
    for key, values in factor.grid.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(
                f"factor {factor.name}: grid.{key} must be a list of values, got {values!r}",
                hint='for example "optimizer.lr" = [0.001, 0.01]',
            )
    for combination in itertools.product(*factor.grid.values()) if factor.grid else ():
        settings = dict(zip(factor.grid, combination, strict=True))
        name = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in settings.items())
        cells[name] = settings
    return replace(factor, cells=cells)


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested tables as {"a.b": value}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def only(plan: Plan, names: Sequence[str]) -> Plan:
    """Return the study with the named factors only.

    Raises:
        ConfigError: the study has no factor of that name.
    """
    known = [factor.name for factor in plan.factors]
    for name in names:
        if name not in known:
            raise ConfigError(
                f"the study has no factor {name!r}",
                hint=did_you_mean(name, known) + f"its factors: {', '.join(known)}",
            )
    factors = tuple(f for f in plan.factors if f.name in names)
    used = {claim.family for factor in factors for claim in factor.claims}
    families = tuple(family for family in plan.families if family.name in used)
    return replace(plan, factors=factors, families=families)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, str | list) else repr(value)


def _check(plan: Plan, file: Path) -> None:
    if plan.seeds < 2:
        raise ConfigError(
            f"{file.name}: seeds = {plan.seeds} is out of range, 2 or more",
            hint="a statistical test across seeds needs 2; 5 or more is better",
        )
    if plan.max_seeds < plan.seeds:
        raise ConfigError(
            f"{file.name}: max_seeds = {plan.max_seeds} is below seeds = {plan.seeds}",
            hint="set max_seeds to the number of seeds or more",
        )
    names = [factor.name for factor in plan.factors]
    if not names or len(set(names)) < len(names):
        raise ConfigError(
            f"{file.name}: a study needs factors with different names, got {names}",
            hint="add a [[factor]] with a name, a title and cells",
        )
    if VERDICTS in names:
        raise ConfigError(
            f"{file.name}: a factor is named {VERDICTS!r}, as the report's figure of all claims is",
            hint="choose another name for the factor",
        )
    for factor in plan.factors:
        _check_factor(plan, factor, f"{file.name}, factor {factor.name}")
    claims = [claim for factor in plan.factors for claim in factor.claims]
    check_families(plan.families, claims, file.name)


def _check_factor(plan: Plan, factor: Factor, where: str) -> None:
    if not factor.cells:
        raise ConfigError(f"{where}: no cells", hint="add [factor.cells] or [factor.grid]")
    for claim in factor.claims:
        check_claim(claim, factor.cells, where)
    for measure in factor.shown:
        check_measure(measure, where)
    for cell, settings in factor.cells.items():
        if not isinstance(settings, dict):
            raise ConfigError(
                f"{where}: cell {cell!r} must be a table of settings, got {settings!r}",
                hint='for example "0.01" = { "optimizer.lr" = 0.01 }',
            )
        try:
            # Built now, so that a wrong setting fails before the first training, not hours into
            # the study.
            first = trainings(plan, factor, cell)[0]
            network_options(first.recipe.network.name, first.recipe.network.options)
        except ConfigError as error:
            raise ConfigError(f"{where}, cell {cell}: {error.message}", hint=error.hint) from error
