"""Recipes: TOML < `--set a.b=c`, into typed settings; every unknown key is answered."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from mien.errors import ConfigError, did_you_mean
from mien.labels import label_set
from mien.train.recipe.settings import (
    AugmentConfig,
    DistilConfig,
    FitConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    ScheduleConfig,
    TargetConfig,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


UNIT, COUNT = (0, 1), (0, 1e9)
RANGES = {
    **{f"augment.{key}": UNIT for key in ("flip", "blur", "erase", "erase_size", "scale", "shift")},
    **{f"augment.{key}": UNIT for key in ("brightness", "contrast", "noise", "gamma")},
    **{f"augment.{key}": UNIT for key in ("low_res", "cutmix")},
    "augment.mixup": (0, 100),
    "augment.blur_sigma": (0, 100),
    "augment.rotation": (0, 180),
    "distil.weight": UNIT,
    "fit.average": UNIT,
    "fit.full_size_at": UNIT,
    "fit.batch_size": (2, 1e9),  # batch normalisation compares the images of a batch
    "fit.early_stopping": COUNT,
    "fit.seed": COUNT,
    "fit.threads": (0, 256),
    "loss.label_smoothing": UNIT,
    "loss.effective_beta": (0, 0.999999),  # at 1 the effective number is infinite
    "loss.logit_adjustment": (0, 2),
    "loss.focal_gamma": (0, 10),
    "optimizer.clip_norm": COUNT,
    "optimizer.momentum": UNIT,
    "optimizer.sam": (0, 100),
    "optimizer.weight_decay": COUNT,
    "schedule.final": UNIT,
    "schedule.warmup_epochs": COUNT,
    "targets.min_votes": COUNT,
    "targets.sharpen_rare": (1, 10),
}
"""Between what a setting must lie, both ends included."""
ABOVE_ZERO = (
    "fit.epochs",
    "targets.sharpen",
    "optimizer.lr",
    "augment.low_res_size",
    "fit.first_size",
)

PRETRAINED = {"dlib-face": "face-resnet"}
"""Values of `fit.pretrained`, and the network that each holds weights for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole training, as read from a recipe and the command line.

    Attributes:
        name: of the recipe, used for the run's folder and the exported model.
        labels: label set that the trained model answers with, or a list with commas; 'auto' takes
            those of the data (happy, neutral, sad where votes are learnt).
        also: a further label set, which the exported model answers by an output of its own;
            all its labels must be learnt.
    """

    name: str
    labels: str = "three"
    also: str = ""
    targets: TargetConfig = field(default_factory=TargetConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)

    @property
    def answer_labels(self) -> tuple[str, ...]:
        """Labels that the model answers with; a ConfigError while they are still 'auto'."""
        if self.labels == "auto":
            raise ConfigError(
                "labels is 'auto' and was not taken from data yet",
                hint="mien train takes it; in Python: mien.train.recipe.adapt.adapted",
            )
        return label_set(self.labels)

    @property
    def learnt_labels(self) -> tuple[str, ...]:
        """Labels that the network learns: those it answers with first, then any others."""
        answers = self.answer_labels
        learnt = label_set(self.targets.classes) if self.targets.classes else answers
        return answers + tuple(label for label in learnt if label not in answers)

    def columns_of(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return where labels stand among the learnt ones; an unlearnt one is a ConfigError."""
        learnt = self.learnt_labels
        lacking = [label for label in labels if label not in learnt]
        if lacking:
            raise ConfigError(
                f"the recipe {self.name} does not learn {', '.join(lacking)}",
                hint=f"it learns {', '.join(learnt)}; see targets.classes",
            )
        return tuple(learnt.index(label) for label in labels)

    def to_dict(self) -> dict[str, Any]:
        """Return the resolved recipe as JSON types, in the recipe's own form."""
        values = asdict(self)
        values["network"].update(values["network"].pop("options"))
        return values


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe, apply `a.b=c` overrides, and check every key and value.

    Raises:
        ConfigError: the file, a key or a value cannot be meant; the hint names the nearest key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read the recipe {path}: {error.strerror}",
            hint="give the path of a TOML file, such as recipes/small.toml",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}", hint="mend that line") from error
    for override in overrides:
        apply_setting(values, override)
    values.setdefault("name", path.stem)
    return recipe_from_dict(values)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe in `values` (as `Recipe.to_dict` gives it), checked."""
    values = dict(values)
    network = values.get("network", {})
    if isinstance(network, dict):
        keys = {f.name for f in fields(NetworkConfig)} - {"options"}
        own = {key: network[key] for key in keys & network.keys()}
        rest = {key: value for key, value in network.items() if key not in own}
        values["network"] = {**own, "options": rest}
    _refuse_bare(values)
    recipe: Recipe = from_mapping(Recipe, values, where="")
    _check(recipe)
    return recipe


def _refuse_bare(values: Mapping[str, Any]) -> None:
    """Answer a key that stands without its section: lr instead of optimizer.lr."""
    known = {f.name: f for f in fields(Recipe)}
    kinds = get_type_hints(Recipe)
    for key in values:
        if key in known:
            continue
        paths = [f"{name}.{key}" for name in known if is_dataclass(kinds[name])
                 and key in {f.name for f in fields(kinds[name])}]  # fmt: skip
        if paths:
            raise ConfigError(f"unknown setting {key}", hint=f"did you mean {paths[0]!r}?")


def from_mapping(cls: type, values: Mapping[str, Any], *, where: str) -> Any:
    """Return dataclass `cls` from parsed TOML; unknown keys and wrong types are ConfigErrors."""
    known = {f.name: f for f in fields(cls)}
    types = get_type_hints(cls)
    prefix = f"{where}." if where else ""
    for key in values:
        if key not in known:
            raise ConfigError(
                f"unknown setting {prefix}{key}",
                hint=did_you_mean(key, known) + f"known here: {', '.join(known)}",
            )
    missing = [
        name
        for name, f in known.items()
        if name not in values and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"setting {prefix}{missing[0]} is missing", hint="add it to the recipe")
    return cls(**{key: _convert(types[key], v, f"{prefix}{key}") for key, v in values.items()})


def _convert(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise _wrong(where, "a table", value)
        return from_mapping(kind, value, where=where)  # type: ignore[arg-type]
    if origin is Literal:
        if value not in arguments:
            hint = did_you_mean(str(value), [str(a) for a in arguments])
            raise ConfigError(
                f"{where} cannot be {value!r}",
                hint=hint + "choose one of: " + ", ".join(str(a) for a in arguments),
            )
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _wrong(where, "a list", value)
        return tuple(_convert(arguments[0], item, where) for item in value)
    if origin in (Union, UnionType):
        return _convert_union(arguments, value, where)
    if dict in (origin, kind):
        return value
    return _convert_scalar(kind, value, where)


def _convert_scalar(kind: type, value: Any, where: str) -> Any:
    """Return a whole number as a float where one is wanted; other kinds must fit as they are."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number"}.get(kind, kind.__name__)
        raise _wrong(where, wanted, value)
    return value


def _convert_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Return the value as the literal it spells, else as the one other kind."""
    literals = [a for kind in kinds if get_origin(kind) is Literal for a in get_args(kind)]
    if value in literals:
        return value
    (other,) = (kind for kind in kinds if get_origin(kind) is not Literal)
    if isinstance(value, str):
        raise _wrong(where, f"a number or {' or '.join(map(repr, literals))}", value)
    return _convert(other, value, where)


def _wrong(where: str, wanted: str, got: Any) -> ConfigError:
    return ConfigError(f"{where} must be {wanted}, got {got!r}", hint="mend the recipe or --set")


def apply_setting(values: dict[str, Any], override: str) -> None:
    """Apply one `a.b=c`, where c is a TOML value, or a bare word taken as a string."""
    path, separator, text = override.partition("=")
    keys = path.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(
            f"--set {override!r} is not of the form a.b=c",
            hint="for example --set optimizer.lr=0.001",
        )
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    table = values
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(
                f"--set {override!r}: {key} is a value, not a table", hint="see the recipe's form"
            )
    table[keys[-1]] = value


def _check(recipe: Recipe) -> None:
    if not recipe.name or recipe.name != Path(recipe.name).name:  # it becomes a folder's name
        raise ConfigError(
            f"name must be a plain name, got {recipe.name!r}", hint="letters, numbers, - and _"
        )
    for name, (low, high) in RANGES.items():
        value = _value(recipe, name)
        if not low <= value <= high:
            raise ConfigError(
                f"{name} must be between {low:g} and {high:g}, got {value}", hint="mend it"
            )
    for name in ABOVE_ZERO:
        value = _value(recipe, name)
        if value != "auto" and not 0 < value < float("inf"):
            raise ConfigError(f"{name} must be above 0, got {value}", hint="mend it")
    _check_pretrained(recipe)
    if "auto" in (recipe.labels, recipe.targets.kind):
        return  # what is learnt, the data will say
    learnt = recipe.learnt_labels  # also checks both names
    if recipe.targets.classes:
        lacking = set(learnt) - set(label_set(recipe.targets.classes))
        if lacking:
            raise ConfigError(
                f"targets.classes = {recipe.targets.classes!r} lacks {sorted(lacking)}, which "
                f"labels = {recipe.labels!r} asks the model to answer",
                hint="choose a label set that holds the answers, such as 'eight'",
            )
    if recipe.also:
        recipe.columns_of(label_set(recipe.also))


def _check_pretrained(recipe: Recipe) -> None:
    name = recipe.fit.pretrained
    if not name:
        return
    if recipe.network.name != PRETRAINED[name]:
        raise ConfigError(
            f"fit.pretrained = {name!r} holds weights for the network {PRETRAINED[name]!r}, "
            f"got network.name = {recipe.network.name!r}",
            hint=f"start from the recipe {PRETRAINED[name]!r}, or leave fit.pretrained out",
        )
    if recipe.fit.start:
        raise ConfigError(
            f"fit.start = {recipe.fit.start!r} and fit.pretrained = {name!r} exclude each other",
            hint="set one of them to ''",
        )


def _value(recipe: Recipe, name: str) -> Any:
    table, key = name.split(".")
    return getattr(getattr(recipe, table), key)
