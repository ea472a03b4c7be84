"""Recipes: TOML files and overrides `a.b=c` to typed settings, every key and value checked."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from mien.errors import ConfigError
from mien.labels import label_set
from mien.train.recipe.convert import apply_setting, from_mapping
from mien.train.recipe.extends import read_recipe
from mien.train.recipe.settings import (
    NETWORK_KEYS,
    AugmentConfig,
    DistillationConfig,
    FitConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    ScheduleConfig,
    TargetConfig,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PRETRAINED = {"dlib-face": "face-resnet"}
"""Values of `fit.pretrained`, and the network that each holds weights for."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """All settings of a training, from a recipe and overrides.

    Attributes:
        name: name of the recipe; run folders and exported models are called after it.
        labels: labels that the trained model predicts: a label set, a list with commas, or 'auto'
            for those of the data (happy, neutral, sad if votes are learnt).
        extra_labels: a second label set that the exported model predicts at an output of its own,
            such as 'seven'; all its labels must be learnt. Empty for none.
    """

    name: str
    labels: str = "three"
    extra_labels: str = ""
    targets: TargetConfig = field(default_factory=TargetConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    distillation: DistillationConfig = field(default_factory=DistillationConfig)

    @property
    def predicted_labels(self) -> tuple[str, ...]:
        """Labels that the model predicts.

        Raises:
            ConfigError: `labels` is still 'auto'.
        """
        if self.labels == "auto":
            raise ConfigError(
                "labels is 'auto', and no data have decided it yet",
                hint="call mien.train.recipe.adapt.adapted(recipe, dataset) first",
            )
        return label_set(self.labels)

    @property
    def learnt_labels(self) -> tuple[str, ...]:
        """Labels that the network learns: the predicted ones first, then any others."""
        predicted = self.predicted_labels
        learnt = label_set(self.targets.classes) if self.targets.classes else predicted
        return predicted + tuple(label for label in learnt if label not in predicted)

    def columns_of(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the indices of `labels` among the learnt ones.

        Raises:
            ConfigError: a label is not learnt.
        """
        learnt = self.learnt_labels
        lacking = [label for label in labels if label not in learnt]
        if lacking:
            raise ConfigError(
                f"the recipe {self.name} does not learn {', '.join(lacking)}",
                hint=f"it learns {', '.join(learnt)}; see targets.classes",
            )
        return tuple(learnt.index(label) for label in labels)

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as JSON types, in the form of a TOML recipe without `extends`."""
        values = asdict(self)
        values["network"].update(values["network"].pop("options"))
        return values


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a TOML recipe and its parents, apply overrides, and check every key and value.

    Args:
        path: of the TOML file; `find_recipe` returns it for a shipped recipe's name.
        overrides: settings `a.b=c` that replace the recipe's.

    Raises:
        ConfigError: a file cannot be read, a key is unknown, or a value is invalid.
    """
    values = read_recipe(path)
    for override in overrides:
        apply_setting(values, override)
    # After the overrides, which may set it.
    values.setdefault("name", path.stem)
    return recipe_from_dict(values)


def recipe_from_dict(values: Mapping[str, Any]) -> Recipe:
    """Return the recipe in `values`, in the form of `Recipe.to_dict`.

    Raises:
        ConfigError: a key is unknown, or a value is invalid.
    """
    values = dict(values)
    network = values.get("network", {})
    if isinstance(network, dict):
        own = {key: network[key] for key in NETWORK_KEYS & network.keys()}
        rest = {key: value for key, value in network.items() if key not in own}
        values["network"] = {**own, "options": rest}
    _refuse_bare(values)
    recipe: Recipe = from_mapping(Recipe, values, where="")
    _check(recipe)
    return recipe


def _refuse_bare(values: Mapping[str, Any]) -> None:
    """Raise a ConfigError for a key without its table, such as lr for optimizer.lr."""
    known = {f.name: f for f in fields(Recipe)}
    kinds = get_type_hints(Recipe)
    for key in values:
        if key in known:
            continue
        paths = [f"{name}.{key}" for name in known if is_dataclass(kinds[name])
                 and key in {f.name for f in fields(kinds[name])}]  # fmt: skip
        if paths:
            raise ConfigError(f"unknown setting {key}", hint=f"did you mean {paths[0]!r}?")


def _check(recipe: Recipe) -> None:
    """Raise a ConfigError for settings that do not fit each other."""
    if not recipe.name or recipe.name != Path(recipe.name).name:  # it becomes a folder's name
        raise ConfigError(
            f"name must be a plain name, got {recipe.name!r}", hint="use letters, numbers, - and _"
        )
    _check_pretrained(recipe)
    if "auto" in (recipe.labels, recipe.targets.kind):
        return  # the data decide what is learnt; `adapted` has no label to check against yet
    learnt = recipe.learnt_labels  # raises for unknown label sets
    if recipe.targets.classes:
        lacking = set(learnt) - set(label_set(recipe.targets.classes))
        if lacking:
            raise ConfigError(
                f"targets.classes = {recipe.targets.classes!r} lacks {sorted(lacking)}, which "
                f"labels = {recipe.labels!r} asks the model to predict",
                hint="choose a label set that contains `labels`, such as 'eight'",
            )
    if recipe.extra_labels:
        recipe.columns_of(label_set(recipe.extra_labels))


def _check_pretrained(recipe: Recipe) -> None:
    name = recipe.fit.pretrained
    if not name:
        return
    if recipe.network.name != PRETRAINED[name]:
        raise ConfigError(
            f"fit.pretrained = {name!r} holds weights for the network {PRETRAINED[name]!r}, "
            f"got network.name = {recipe.network.name!r}",
            hint=f"use the recipe {PRETRAINED[name]!r}, or leave fit.pretrained out",
        )
    if recipe.fit.init_from:
        raise ConfigError(
            f"fit.init_from = {recipe.fit.init_from!r} and fit.pretrained = {name!r} exclude "
            "each other",
            hint="set one of them to ''",
        )
